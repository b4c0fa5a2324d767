"""Which networks of a search are worth a training to the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ga.arrays import Array
from ga.history.pareto import hypervolume

# Beyond the worst of a front by so much, as a share of its range: its ends count, too.
_MARGIN = 1.1


def to_learn_from(
    losses: Sequence[Sequence[float]],
    doubts: Sequence[float],
    chosen: Sequence[Sequence[float]] = (),
) -> int:
    """The network whose training to the end teaches most: far from those known, and in doubt.

    Args:
        losses: of n candidates, n >= 1.
        doubts: how wide the interval of each is; all alike where nothing is known.
        chosen: losses of networks that were chosen before.

    Returns:
        Its place. The first of all is the one nearest to the ideal point.
    """
    table = np.array(losses, dtype=float)
    everything = np.vstack([table, np.array(chosen, dtype=float).reshape(-1, table.shape[1])])
    low, span = _box(everything)
    scaled, known = (table - low) / span, (everything[len(table) :] - low) / span
    if not len(known):
        return int((scaled**2).sum(axis=1).argmin())
    distances = np.linalg.norm(scaled[:, None] - known[None], axis=2).min(axis=1)
    return int((distances * np.array(doubts, dtype=float)).argmax())


def finalist(losses: Sequence[Sequence[float]], chosen: Collection[int]) -> int | None:
    """The network that adds most hypervolume to those that are finalists already.

    Args:
        losses: of the n networks of a front.
        chosen: places of the finalists so far.

    Returns:
        Its place; None if all are chosen.
    """
    open_ = [i for i in range(len(losses)) if i not in chosen]
    if not open_:
        return None
    table = np.array(losses, dtype=float)
    low, span = _box(table)
    scaled = (table - low) / span
    reference = [_MARGIN] * table.shape[1]
    mine = [tuple(scaled[i]) for i in sorted(chosen)]
    return max(open_, key=lambda i: (hypervolume([*mine, tuple(scaled[i])], reference), -i))


def _box(table: Array) -> tuple[Array, Array]:
    low = table.min(axis=0)
    span = table.max(axis=0) - low
    return low, np.where(span > 0, span, 1.0)
