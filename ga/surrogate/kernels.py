"""Parts of the kernel of a Gaussian process."""

from __future__ import annotations

import numpy as np

from ga.arrays import Array


def squares(a: Array, b: Array) -> Array:
    """Squared distances of the rows of `a` from those of `b`."""
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(square, 0.0))


def matern(square: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances, and its derivative by them."""
    r = np.sqrt(5 * square)
    decay = np.exp(-r)
    return (1 + r + r**2 / 3) * decay, -5 / 6 * (1 + r) * decay
