"""Every evaluation of a search: by number, in order of completion, with its front."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from ga.arrays import Array
from ga.evaluation import COMPLETE, Evaluation
from ga.history.pareto import dominates, nondominated
from ga.history.readings import pooled, readings_of
from ga.problem.objectives import Constraint, Objectives, violation


class Archive:
    """Unbounded: it forgets nothing, and keeps the front up to date as results come in.

    A network that was measured several times, under one number or under several, counts by the
    means of all its measurements: the luckiest of them makes no front.

    Attributes:
        scored: complete evaluations with their losses, by number; those of one network have the
            same `metrics`, the means, and `readings`.
    """

    def __init__(self, objectives: Objectives, constraints: tuple[Constraint, ...]) -> None:
        self.objectives = objectives
        self.constraints = constraints
        self._finished: dict[int, Evaluation] = {}
        self.scored: dict[int, Evaluation] = {}
        self._front: dict[int, Evaluation] = {}
        self._extremes: Array | None = None
        # Numbers of complete evaluations by network.
        self._alike: dict[Hashable, dict[int, None]] = {}
        self._network: dict[int, Hashable] = {}

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

    def add(self, evaluation: Evaluation, network: Hashable = None) -> Evaluation:
        """Store a finished evaluation, scored if it is complete.

        One with the same number is replaced.

        Args:
            evaluation: it.
            network: equal for evaluations of the same network; None: there is no other.

        Returns:
            It, with its scores; those of the means if its network was measured before.

        Raises:
            ValueError: see `score`; nothing is stored then.
        """
        complete = evaluation.status == COMPLETE
        if complete:
            evaluation = self.score(evaluation)
        replaced = self._finished.pop(evaluation.id, None)
        if replaced is not None:
            self._extremes = None
        self.scored.pop(evaluation.id, None)
        self._finished[evaluation.id] = evaluation
        if replaced is not None and replaced.status == COMPLETE:
            del self._alike[self._network.pop(evaluation.id)][evaluation.id]
            self._front = _front(self.apart())
        if complete:
            self.scored[evaluation.id] = evaluation
            self._network[evaluation.id] = evaluation.id if network is None else network
            alike = self._alike.setdefault(self._network[evaluation.id], {})
            alike[evaluation.id] = None
            if len(alike) > 1:
                return self._pool(evaluation.id)
            if self._extremes is not None:
                low, high, losses = *self._extremes, np.array(evaluation.losses)
                self._extremes = np.array([np.minimum(low, losses), np.maximum(high, losses)])
            if not evaluation.violation:
                self._front = _front([*self._front.values(), evaluation], newest=evaluation)
        return evaluation

    def remeasure(self, number: int, metrics: Mapping[str, object]) -> Evaluation:
        """Store a further measurement of a complete evaluation, which keeps its place.

        Returns:
            The evaluation as it counts now.

        Raises:
            KeyError: no complete evaluation has this number.
            ValueError: see `score`; nothing is stored then.
        """
        before = self._finished[number]
        if before.status != COMPLETE:
            raise KeyError(number)
        latest = dict(metrics)
        self.score(replace(before, metrics=latest, readings=()))
        readings = (*readings_of([before]), latest)
        now = replace(before, metrics=pooled(readings), readings=readings)
        self._finished[number] = self.score(now)
        return self._pool(number)

    def _pool(self, number: int) -> Evaluation:
        """Score all evaluations of one network by the means of all its measurements."""
        alike = self._alike[self._network[number]]
        readings = readings_of(self._finished[n] for n in alike)
        mean = pooled(readings)
        for other in alike:
            now = replace(self._finished[other], metrics=mean, readings=readings)
            self.scored[other] = self.score(now)
        self._front, self._extremes = _front(self.apart()), None
        return self.scored[number]

    def apart(self) -> list[Evaluation]:
        """One scored evaluation of each network, the first."""
        return [
            scored
            for number, scored in self.scored.items()
            if next(iter(self._alike[self._network[number]])) == number
        ]

    @property
    def finished(self) -> list[Evaluation]:
        """All finished evaluations in order of completion."""
        return list(self._finished.values())

    @property
    def extremes(self) -> Array:
        """The smallest and the largest losses of all results: 2 x m."""
        if self._extremes is None:
            losses = np.array([scored.losses for scored in self.scored.values()])
            self._extremes = np.array([losses.min(axis=0), losses.max(axis=0)])
        return self._extremes

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
    keep = nondominated([e.losses for e in pool]) if pool else ()
    return {e.id: e for e, is_on in zip(pool, keep, strict=True) if is_on}
