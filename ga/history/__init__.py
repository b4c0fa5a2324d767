"""What happened so far: results, archive, Pareto front, termination, importance."""
