"""Parts of the kernel of a Gaussian process."""

from __future__ import annotations

import numpy as np

from ga.arrays import Array


def squares(a: Array, b: Array, lengths: Array | None = None) -> Array:
    """Squared distances of the rows of `a` from those of `b`; `lengths`: squared, of the latter."""
    lengths = (b**2).sum(axis=1) if lengths is None else lengths
    square = (a**2).sum(axis=1)[:, None] + lengths - 2 * a @ b.T
    return np.asarray(np.maximum(square, 0.0))


def matern(square: Array) -> Array:
    """Matern 5/2 of squared distances."""
    r = np.sqrt(5 * square)
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


def matern_and_slope(square: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances, and its derivative by them."""
    r = np.sqrt(5 * square)
    decay = np.exp(-r)
    return (1 + r + r**2 / 3) * decay, -5 / 6 * (1 + r) * decay
