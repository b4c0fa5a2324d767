"""Every evaluation of a search: by number, in order of completion, with its front."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ga.evaluation import COMPLETE, Evaluation
from ga.evolution.survival import Losses, dominates
from ga.problem.objectives import Constraint, Objectives, violation


@dataclass(frozen=True)
class Scored:
    """A complete evaluation with what domination needs to know of it."""

    evaluation: Evaluation
    losses: Losses
    violation: float


class Archive:
    """Unbounded: it forgets nothing, and keeps the front up to date as results come in."""

    def __init__(self, objectives: Objectives, constraints: tuple[Constraint, ...]) -> None:
        self.objectives = objectives
        self.constraints = constraints
        self._finished: dict[int, Evaluation] = {}
        self.scored: dict[int, Scored] = {}
        self._front: dict[int, Scored] = {}

    def __len__(self) -> int:
        return len(self._finished)

    def __contains__(self, number: int) -> bool:
        return number in self._finished

    def __getitem__(self, number: int) -> Evaluation:
        return self._finished[number]

    def score(self, evaluation: Evaluation) -> Scored:
        """Check an evaluation's metrics and score it.

        Raises:
            ValueError: an objective or a constrained metric is missing or not a finite number.
        """
        metrics = evaluation.metrics or {}
        losses = self.objectives.losses(metrics)
        return Scored(evaluation, losses, violation(self.constraints, metrics))

    def add(self, evaluation: Evaluation) -> Scored | None:
        """Store a finished evaluation; one with the same number is replaced.

        Raises:
            ValueError: see `score`; nothing is stored then.
        """
        scored = self.score(evaluation) if evaluation.status == COMPLETE else None
        replaced = self._finished.pop(evaluation.id, None)
        self.scored.pop(evaluation.id, None)
        self._finished[evaluation.id] = evaluation
        if replaced is not None and replaced.status == COMPLETE:
            self._front = _front(self.scored.values())
        if scored is not None:
            self.scored[evaluation.id] = scored
            if not scored.violation:
                self._front = _front([*self._front.values(), scored], newest=scored)
        return scored

    @property
    def finished(self) -> list[Evaluation]:
        """All finished evaluations in order of completion."""
        return list(self._finished.values())

    def front(self) -> list[Scored]:
        """Feasible evaluations that no other dominates, sorted by the first objective."""
        return sorted(self._front.values(), key=lambda s: s.losses)


def _front(candidates: Iterable[Scored], newest: Scored | None = None) -> dict[int, Scored]:
    """The non-dominated feasible ones; with `newest`, all others are known not to dominate."""
    pool = [s for s in candidates if not s.violation]
    if newest is not None:
        if any(dominates(s.losses, newest.losses) for s in pool):
            pool = [s for s in pool if s is not newest]
        else:
            pool = [s for s in pool if not dominates(newest.losses, s.losses)]
        return {s.evaluation.id: s for s in pool}
    return {
        s.evaluation.id: s for s in pool if not any(dominates(o.losses, s.losses) for o in pool)
    }
