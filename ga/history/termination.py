"""When a search is at its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ga.arrays import Array
from ga.evaluation import Evaluation
from ga.history.pareto import hypervolume, nondominated

# The hypervolume counts as unchanged when it grew by less than this share. A choice; not tuned.
_GROWTH = 1e-3


def hypervolume_history(
    results: Sequence[Evaluation], reference: Sequence[float] | None = None
) -> list[float]:
    """The hypervolume of the feasible front after each complete result.

    Args:
        results: in order of completion.
        reference: losses; None takes the worst of all feasible results, and scales every
            objective to the range that was observed, so that the values lie in [0, 1].
    """
    feasible = [e.losses for e in results if not e.violation]
    if not feasible:
        return [0.0] * len(results)
    point, scale = _reference(feasible, reference)
    history: list[float] = []
    front = np.empty((0, len(point)))
    for evaluation in results:
        volume = history[-1] if history else 0.0
        if not evaluation.violation:
            joined = np.vstack([front, [evaluation.losses]])
            keep = nondominated(joined)
            if keep[-1]:
                front = joined[keep]
                volume = hypervolume(front * scale, point * scale)
        history.append(volume)
    return history


def stagnates(results: Sequence[Evaluation], window: int) -> bool:
    """Whether the last `window` results left the hypervolume (nearly) as it was."""
    before = results[:-window]
    if not before or all(e.violation for e in before):
        return False
    feasible = [e.losses for e in results if not e.violation]
    point, scale = _reference(feasible, None)
    earlier = [e.losses for e in before if not e.violation]
    old = hypervolume(np.array(earlier) * scale, point * scale)
    new = hypervolume(np.array(feasible) * scale, point * scale)
    return new <= old * (1 + _GROWTH)


def _reference(
    feasible: Sequence[Sequence[float]], reference: Sequence[float] | None
) -> tuple[Array, Array]:
    table = np.array(feasible, dtype=float)
    if reference is not None:
        return np.array(reference, dtype=float), np.ones(table.shape[1])
    span = np.ptp(table, axis=0)
    # A little beyond the worst, so that the ends of a front count.
    return table.max(axis=0) + 0.01 * np.where(span > 0, span, 1.0), 1 / np.where(
        span > 0, span, 1.0
    )
