"""Which candidate is worth a trial: expected hypervolume improvement and its optimization."""
