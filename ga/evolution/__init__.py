"""The genetic algorithm: variation, repair, survival and the steady-state population."""
