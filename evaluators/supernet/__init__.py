"""One set of weights for all widths and bits of a search space, which trials start from."""
