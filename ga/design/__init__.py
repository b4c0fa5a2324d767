"""The first candidates: corners, a greedy path of measured sensitivities, a Latin hypercube."""
