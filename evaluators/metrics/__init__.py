"""Metrics that gather batch by batch, for tasks that are no classification."""
