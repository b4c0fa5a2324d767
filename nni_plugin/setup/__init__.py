"""Before an experiment: scaffold, space files, checks, the launcher."""
