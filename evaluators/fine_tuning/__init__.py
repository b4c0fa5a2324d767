"""How a compressed network is trained: the loop, distillation, where weights come from."""
