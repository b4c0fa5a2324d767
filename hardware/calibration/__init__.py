"""Factors of devices and runtimes, fitted to published results or to a user's own board."""
