"""The network as layers with shapes and channel groups, and what a chromosome makes of it."""
