"""Every evaluation of a search: by number, in order of completion, with its front."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ga.evaluation import COMPLETE, Evaluation
from ga.history.pareto import dominates
from ga.problem.objectives import Constraint, Objectives, violation


class Archive:
    """Unbounded: it forgets nothing, and keeps the front up to date as results come in.

    Attributes:
        scored: complete evaluations with their losses, by number.
    """

    def __init__(self, objectives: Objectives, constraints: tuple[Constraint, ...]) -> None:
        self.objectives = objectives
        self.constraints = constraints
        self._finished: dict[int, Evaluation] = {}
        self.scored: dict[int, Evaluation] = {}
        self._front: dict[int, Evaluation] = {}

    def __len__(self) -> int:
        return len(self._finished)

    def __contains__(self, number: int) -> bool:
        return number in self._finished

    def __getitem__(self, number: int) -> Evaluation:
        return self._finished[number]

    def score(self, evaluation: Evaluation) -> Evaluation:
        """Check an evaluation's metrics, and give it its losses and its violation.

        Raises:
            ValueError: an objective or a constrained metric is missing or not a finite number.
        """
        metrics = evaluation.metrics or {}
        losses = self.objectives.losses(metrics)
        return replace(evaluation, losses=losses, violation=violation(self.constraints, metrics))

    def add(self, evaluation: Evaluation) -> Evaluation:
        """Store a finished evaluation, scored if it is complete.

        One with the same number is replaced.

        Raises:
            ValueError: see `score`; nothing is stored then.
        """
        complete = evaluation.status == COMPLETE
        if complete:
            evaluation = self.score(evaluation)
        replaced = self._finished.pop(evaluation.id, None)
        self.scored.pop(evaluation.id, None)
        self._finished[evaluation.id] = evaluation
        if replaced is not None and replaced.status == COMPLETE:
            self._front = _front(self.scored.values())
        if complete:
            self.scored[evaluation.id] = evaluation
            if not evaluation.violation:
                self._front = _front([*self._front.values(), evaluation], newest=evaluation)
        return evaluation

    @property
    def finished(self) -> list[Evaluation]:
        """All finished evaluations in order of completion."""
        return list(self._finished.values())

    def front(self) -> list[Evaluation]:
        """Feasible evaluations that no other dominates, sorted by the first objective."""
        return sorted(self._front.values(), key=lambda evaluation: evaluation.losses)


def _front(
    candidates: Iterable[Evaluation], newest: Evaluation | None = None
) -> dict[int, Evaluation]:
    """The non-dominated feasible ones; with `newest`, all others are known not to dominate."""
    pool = [e for e in candidates if not e.violation]
    if newest is not None:
        if any(dominates(e.losses, newest.losses) for e in pool):
            pool = [e for e in pool if e is not newest]
        else:
            pool = [e for e in pool if not dominates(newest.losses, e.losses)]
        return {e.id: e for e in pool}
    return {e.id: e for e in pool if not any(dominates(o.losses, e.losses) for o in pool)}
