"""What stands in the way where no result keeps all limits: said while one can still act on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from ga.problem.finite import as_finite
from ga.problem.objectives import Constraint

# Complete results without a feasible one after which it is said; half of the budget if that is
# less. A choice: with sensitivities a limit of accuracy is found within twelve.
PATIENCE = 24
# A limit that the nearest result keeps with less room than this share of its bound is named too.
_TIGHT = 0.05


def patience(budget: int | None) -> int:
    """After how many complete results it is time to say that none keeps the limits."""
    return PATIENCE if budget is None else max(1, min(PATIENCE, budget // 2))


def unmet_limits(
    constraints: Sequence[Constraint], results: Mapping[int, Mapping[str, object]]
) -> str | None:
    """Which limits no result keeps, or none keeps together, with the nearest values.

    Args:
        constraints: all limits.
        results: metrics of complete results, by number. Those that lack a limited metric are left
            out.

    Returns:
        A text; None if some result keeps all limits, or there is nothing to judge by.
    """
    rows = [
        row for number, metrics in results.items() if (row := _row(number, constraints, metrics))
    ]
    if not rows or not constraints or any(not any(row.excess) for row in rows):
        return None
    never = [c for c in range(len(constraints)) if all(row.excess[c] for row in rows)]
    parts = [_never(constraints, rows, c) for c in never] or [_apart(constraints, rows)]
    return f"none of {len(rows)} results keeps the limits: {'; '.join(parts)}"


def contradiction(
    constraints: Sequence[Constraint], costs: Sequence[Mapping[str, object]]
) -> str | None:
    """Limits each of which some candidate keeps, but none keeps together; None if there are none.

    Args:
        constraints: limits on known costs.
        costs: of candidates that were looked at.
    """
    found = [_row(None, constraints, known) for known in costs]
    rows = [row for row in found if row is not None]
    if any(not any(row.excess) for row in rows):
        return None
    if any(all(row.excess[c] for row in rows) for c in range(len(constraints))):
        return None
    return _apart(constraints, rows)


class _Row:
    """A result: its number, the limited metrics, and how much each limit is broken."""

    def __init__(
        self, number: int | None, constraints: Sequence[Constraint], values: list[float]
    ) -> None:
        self.label = "" if number is None else f", candidate {number}"
        self.values = values
        self.excess = [c.excess(v) for c, v in zip(constraints, values, strict=True)]

    def keeps(self, some: Iterable[int]) -> bool:
        return not any(self.excess[c] for c in some)


def _row(
    number: int | None, constraints: Sequence[Constraint], metrics: Mapping[str, object]
) -> _Row | None:
    values = [as_finite(metrics.get(c.metric)) for c in constraints]
    known = [value for value in values if value is not None]
    return _Row(number, constraints, known) if len(known) == len(values) else None


def _never(constraints: Sequence[Constraint], rows: Sequence[_Row], limit: int) -> str:
    """A limit that nothing keeps: the nearest value, and that within the other limits."""
    metric = constraints[limit].metric
    others = [c for c in range(len(constraints)) if c != limit]
    nearest = min(rows, key=lambda row: (row.excess[limit], sum(row.excess)))
    said = f"{metric}={nearest.values[limit]:g}{nearest.label}"
    within = [row for row in rows if row.keeps(others)]
    if not nearest.keeps(others) and within:
        best = min(within, key=lambda row: row.excess[limit])
        said += f"; within the other limits {metric}={best.values[limit]:g}{best.label}"
        nearest = best
    tight = [
        f"{constraints[c].metric}={nearest.values[c]:g} at its limit '{constraints[c]}'"
        for c in others
        if nearest.keeps([c])
        and abs(nearest.values[c] - constraints[c].bound) <= _TIGHT * abs(constraints[c].bound)
    ]
    if tight:
        said += f" with {' and '.join(tight)}"
    return f"'{constraints[limit]}' is never kept (nearest: {said})"


def _apart(constraints: Sequence[Constraint], rows: Sequence[_Row]) -> str:
    """Limits that are kept, but never together: the nearest value of each, the others kept."""
    indices = range(len(constraints))
    conflict = next(
        some
        for size in range(2, len(constraints) + 1)
        for some in combinations(indices, size)
        if not any(row.keeps(some) for row in rows)
    )
    sides = []
    for limit in conflict:
        others = [c for c in conflict if c != limit]
        best = min((row for row in rows if row.keeps(others)), key=lambda row: row.excess[limit])
        sides.append(
            f"{constraints[limit].metric}={best.values[limit]:g} with "
            f"{' and '.join(str(constraints[c]) for c in others)}{best.label}"
        )
    names = " and ".join(f"'{constraints[c]}'" for c in conflict)
    return f"{names} are never kept together (nearest: {'; '.join(sides)})"
