"""How a compressed network is trained: the loop, and distillation."""
