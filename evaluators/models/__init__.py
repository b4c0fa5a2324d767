"""The network architectures that the tasks use."""
