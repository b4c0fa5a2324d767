"""Pruning, quantization and the decisions of a chromosome for each layer."""
