"""Costs that are measured or emulated instead of estimated."""
