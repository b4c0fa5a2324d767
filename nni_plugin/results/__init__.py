"""Reading an experiment: front, selection, reports, the live page."""
