"""Expected hypervolume improvement, exact, over a box partition of the non-dominated region.

For independent normal predictions the expected gain of a candidate is a sum over boxes of products
of one-dimensional terms (Yang et al., J. Global Optimization 75, 2019). A value that is known
exactly is a normal one of zero width. The partition for three objectives is a sweep with at most
2n + 1 boxes for n points, as small as that of Lacour et al. (Computers & OR 79, 2017).
"""

from __future__ import annotations

import itertools

import numpy as np

from ga.arrays import Array
from ga.history.pareto import nondominated

# The sweep costs front size squared in Python; and from four objectives on the number of boxes
# grows with every further one. A thinned front changes the gain of a candidate little.
# The numbers are choices; not tuned.
_MOST_POINTS = {1: 1, 2: 400, 3: 300, 4: 40, 5: 16}
_FEWEST_POINTS = 10
# Standard deviations of a logarithm that are believed: a choice, against overflow.
_TINY, _WIDEST = 1e-9, 3.0


class BoxDecomposition:
    """The region that no point of a front dominates, up to a reference point, cut into boxes.

    Args:
        losses: n x m, to be minimized; dominated points and such beyond the reference may be
            among them.
        reference: m values; the boxes end there.

    Attributes:
        lower: b x m, -inf where a box is open.
        upper: b x m.
    """

    def __init__(self, losses: Array, reference: Array) -> None:
        m = len(reference)
        points = np.asarray(losses, dtype=float).reshape(-1, m)
        points = np.unique(points[(points < reference).all(axis=1)], axis=0)
        points = points[nondominated(points)]
        most = _MOST_POINTS.get(m, _FEWEST_POINTS)
        if len(points) > most and m > 1:
            points = points[np.linspace(0, len(points) - 1, most).round().astype(int)]
        boxes = _partition(points, reference)
        self.lower = np.array([low for low, _ in boxes], dtype=float).reshape(-1, m)
        self.upper = np.array([high for _, high in boxes], dtype=float).reshape(-1, m)

    def ehvi(self, mean: Array, deviation: Array, floor: Array | None = None) -> Array:
        """Expected growth of the hypervolume by each of c candidates.

        Args:
            mean: c x m predicted losses.
            deviation: c x m standard deviations; 0 where a loss is known.
            floor: m values; above a finite one the loss is distributed log-normally, with the
                median `mean` and the deviation to first order. None: all are normal.
        """
        gain = np.ones((len(mean), len(self.lower)))
        for j in range(mean.shape[1]):
            # Few distinct bounds belong to many boxes: the terms are computed once per bound.
            ticks, where = np.unique(
                np.concatenate([self.lower[:, j], self.upper[:, j]]), return_inverse=True
            )
            center, spread = mean[:, j, None], deviation[:, j, None]
            if floor is not None and np.isfinite(floor[j]):
                below = _lognormal_shortfall(ticks - floor[j], center - floor[j], spread)
            else:
                below = _expected_shortfall(ticks, center, spread)
            low, high = np.split(where, 2)
            gain *= below[:, high] - below[:, low]
        return np.asarray(gain.sum(axis=1))


def _expected_shortfall(ticks: Array, mean: Array, deviation: Array) -> Array:
    """E[max(0, t - Y)] for normal Y; 0 at t = -inf."""
    from scipy.special import ndtr  # late: who asks no surrogate pays no import

    finite = np.where(np.isfinite(ticks), ticks, 0.0)
    gap = finite - mean
    wide = np.where(deviation > 0, deviation, 1.0)
    z = gap / wide
    density = np.exp(-0.5 * np.square(np.clip(z, -37.0, 37.0))) / np.sqrt(2 * np.pi)
    value = np.where(deviation > 0, gap * ndtr(z) + deviation * density, np.maximum(gap, 0.0))
    return np.asarray(np.where(np.isfinite(ticks), value, 0.0))


def _lognormal_shortfall(ticks: Array, median: Array, deviation: Array) -> Array:
    """E[max(0, t - Y)] for log-normal Y: the price of a put (Black & Scholes 1973)."""
    from scipy.special import ndtr

    reached = np.isfinite(ticks) & (ticks > 0)
    finite = np.where(reached, ticks, 1.0)
    median = np.maximum(median, _TINY)  # rounding may put it on the floor
    width = np.clip(deviation / median, _TINY, _WIDEST)
    d = np.log(finite / median) / width
    value = finite * ndtr(d) - median * np.exp(width**2 / 2) * ndtr(d - width)
    return np.asarray(np.where(reached, np.maximum(value, 0.0), 0.0))


Box = tuple[tuple[float, ...], tuple[float, ...]]
_OPEN = float("-inf")


def _partition(points: Array, reference: Array) -> list[Box]:
    m = len(reference)
    if m == 1:
        best = min((p[0] for p in points), default=reference[0])
        return [((_OPEN,), (float(best),))]
    if m == 2:
        return _stairs(points, reference)
    if m == 3:
        return _sweep(points, reference)
    boxes: list[Box] = []
    levels = [_OPEN, *sorted(set(points[:, -1].tolist())), float(reference[-1])]
    for low, high in itertools.pairwise(levels):
        slab = points[points[:, -1] <= low][:, :-1]
        slab = slab[nondominated(slab)] if len(slab) else slab
        boxes += [((*lo, low), (*hi, high)) for lo, hi in _partition(slab, reference[:-1])]
    return boxes


def _stairs(points: Array, reference: Array) -> list[Box]:
    boxes: list[Box] = []
    left, top = _OPEN, float(reference[1])
    for x, y in sorted(map(tuple, points.tolist())):
        boxes.append(((left, _OPEN), (x, top)))
        left, top = x, y
    boxes.append(((left, _OPEN), (float(reference[0]), top)))
    return boxes


def _sweep(points: Array, reference: Array) -> list[Box]:
    """Sweep along the third objective; strips (left, right, top, since) tile the section.

    A new point cuts the strips that it dominates; only those are closed into boxes, the others
    live on, which keeps the number of boxes linear.
    """
    boxes: list[Box] = []
    strips = [(_OPEN, float(reference[0]), float(reference[1]), _OPEN)]
    for x, y, z in sorted(map(tuple, points.tolist()), key=lambda p: (p[2], p[0], p[1])):
        kept, until = [], x
        for left, right, top, since in strips:
            if right <= x or top <= y:
                kept.append((left, right, top, since))
                continue
            boxes.append(((left, _OPEN, since), (right, top, z)))
            if left < x:
                kept.append((left, x, top, z))
            until = max(until, right)
        if until > x:
            kept.append((x, until, y, z))
        strips = kept
    end = float(reference[2])
    boxes += [((left, _OPEN, since), (right, top, end)) for left, right, top, since in strips]
    return [box for box in boxes if box[0][2] < box[1][2]]
