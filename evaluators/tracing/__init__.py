"""From a PyTorch module to layers and channel groups."""
