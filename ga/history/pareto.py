"""Domination and hypervolume of arrays of losses (smaller is better)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ga.arrays import Array
from ga.evaluation import Losses

# From so many points on moocore is worth its import. A choice.
_MANY = 128


def dominates(a: Losses, b: Losses) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def nondominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates; equal points are all kept.

    Args:
        losses: n x m, to be minimized.

    Returns:
        n flags.
    """
    points = _points(losses)
    if len(points) > _MANY:
        moocore: Any = _moocore()
        return np.asarray(moocore.is_nondominated(points, keep_weakly=True))
    keep = np.zeros(len(points), dtype=bool)
    # In lexicographic order nothing later dominates anything earlier, so a point only has to be
    # compared with the front so far.
    front = np.empty((0, points.shape[1]))
    for i in np.lexsort(points.T[::-1]):
        point = points[i]
        dominated = (front <= point).all(axis=1) & (front < point).any(axis=1)
        if not dominated.any():
            keep[i] = True
            front = np.vstack([front, point])
    return keep


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """The volume that points dominate up to a reference point (worse ones count nothing).

    Args:
        losses: n x m, to be minimized; may be empty.
        reference: m values.

    Raises:
        ValueError: the numbers of objectives differ.
    """
    point = np.asarray(reference, dtype=float)
    points = _points(losses) if np.size(losses) else np.empty((0, len(point)))
    if points.shape[1] != len(point):
        raise ValueError(
            f"a reference point with {len(point)} values for {points.shape[1]} objectives"
        )
    if not len(points):
        return 0.0
    moocore: Any = _moocore()
    return float(moocore.hypervolume(points, ref=point))


def _moocore() -> Any:
    # Imported late: it costs a tenth of a second, which who only asks for parsing shall not pay.
    import moocore

    return moocore


def _points(losses: ArrayLike) -> Array:
    points = np.asarray(losses, dtype=float)
    if points.ndim != 2:
        raise ValueError(f"losses should be n x m, got an array of shape {points.shape}")
    return points
