"""Pareto front and hypervolume of a run, for everything that shows one.

The hypervolume shown to people is a share: objectives are scaled so that the best value seen is 0
and the worst 1, and the volume up to 1.1 in every direction is divided by the whole box. It lies
in [0, 1] whatever the metrics' units are. When a trial stretches the box, the history is computed
anew, so one curve always has one scale. To compare runs give all of them the same bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from ga.evaluation import COMPLETE
from ga.problem.objectives import Constraint, Objectives, parse_constraints, violation
from nni_plugin.study.trial_log import Trial

__all__ = ["Bounds", "FrontHistory", "knee"]

_MARGIN = 1.1
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Best and worst value of each objective, as losses (smaller is better), shape (m,)."""

    ideal: Array
    nadir: Array

    @classmethod
    def of(cls, losses: Array) -> Bounds:
        """Bounds of ``losses``, shape (n, m), n >= 1."""
        return cls(losses.min(axis=0), losses.max(axis=0))

    def holds(self, loss: Array) -> bool:
        """Whether one loss vector, shape (m,), lies within."""
        return bool((loss >= self.ideal).all() and (loss <= self.nadir).all())

    def scale(self, losses: Array) -> Array:
        """Losses scaled to [0, 1]; an objective that never varied becomes 0."""
        span = self.nadir - self.ideal
        return np.asarray((losses - self.ideal) / np.where(span > 0, span, 1.0))

    def hypervolume(self, losses: Array) -> float:
        """Share of the box that ``losses``, shape (n, m), dominate; 0 for none."""
        if not len(losses):
            return 0.0
        scaled = np.ascontiguousarray(self.scale(losses))
        volume = moocore.hypervolume(scaled, ref=[_MARGIN] * scaled.shape[1])
        return float(volume / _MARGIN ** scaled.shape[1])


class FrontHistory:
    """The front after every complete trial, kept as trials finish.

    Args:
        objectives: ``{metric: "maximize" | "minimize"}``.
        constraints: ``{metric: "<= 256"}``; infeasible trials are counted but never on the front.
        bounds: box of the hypervolume; by default that of the complete trials seen so far.
    """

    def __init__(
        self,
        objectives: Mapping[str, str],
        constraints: Mapping[str, Any] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.objectives = Objectives.parse(objectives)
        self.constraints: tuple[Constraint, ...] = parse_constraints(constraints or {})
        self._fixed = bounds
        self._bounds = bounds
        self._seen: list[tuple[int, Array | None]] = []
        self._front: list[int] = []
        self._history: list[tuple[int, float]] = []
        self._counted = 0
        self.without_objectives = 0

    def feasible(self, trial: Trial) -> bool:
        """Whether the trial is complete and breaks no constraint; an unreported metric breaks."""
        try:
            return trial.status == COMPLETE and violation(self.constraints, trial.metrics) == 0
        except ValueError:
            return False

    def losses(self, trial: Trial) -> Array | None:
        """The objectives as losses, shape (m,), or None if the trial doesn't report them all."""
        try:
            return np.array(self.objectives.losses(trial.metrics))
        except ValueError:
            return None

    def extend(self, trials: Iterable[Trial]) -> None:
        """Takes finished trials in the order they finished; incomplete ones are ignored."""
        for trial in trials:
            if trial.status != COMPLETE:
                continue
            losses = self.losses(trial)
            if losses is None:
                self.without_objectives += 1
            elif self._fixed is None and (self._bounds is None or not self._bounds.holds(losses)):
                known = Bounds(losses, losses) if self._bounds is None else self._bounds
                self._bounds = Bounds(
                    np.minimum(known.ideal, losses), np.maximum(known.nadir, losses)
                )
                self._counted = 0
            usable = losses is not None and self.feasible(trial)
            self._seen.append((trial.uid, losses if usable else None))
        self._count()

    def _count(self) -> None:
        if self._counted == 0:
            self._front, self._history = [], []
        for index in range(self._counted, len(self._seen)):
            losses = self._seen[index][1]
            if losses is not None and self._enters(losses):
                kept = [i for i in self._front if not (losses <= self._loss(i)).all()]
                self._front = [*kept, index]
                assert self._bounds is not None
                volume = self._bounds.hypervolume(self._matrix())
                self._history.append((index + 1, volume))
        self._counted = len(self._seen)

    def _enters(self, losses: Array) -> bool:
        return not self._front or not (self._matrix() <= losses).all(axis=1).any()

    def _loss(self, index: int) -> Array:
        losses = self._seen[index][1]
        assert losses is not None
        return losses

    def _matrix(self) -> Array:
        return np.array([self._loss(i) for i in self._front])

    @property
    def front(self) -> list[int]:
        """Uids on the front; of trials with equal objectives the first."""
        return [self._seen[i][0] for i in self._front]

    @property
    def steps(self) -> list[tuple[int, float]]:
        """``(complete trials, hypervolume)`` at each change of the front."""
        return list(self._history)

    @property
    def hypervolume(self) -> float:
        """Hypervolume now, a share in [0, 1]; 0 while the front is empty."""
        return self._history[-1][1] if self._history else 0.0

    @property
    def bounds(self) -> Bounds | None:
        """The box in use; None before the first complete trial."""
        return self._bounds


def knee(trials: Sequence[Trial], objectives: Mapping[str, str]) -> Trial:
    """The trial nearest to the ideal corner, objectives scaled to these trials' range.

    Raises:
        ValueError: no trials, or one that lacks an objective.
    """
    if not trials:
        raise ValueError("the front is empty: there is no knee point to choose")
    parsed = Objectives.parse(objectives)
    losses = np.array([parsed.losses(t.metrics) for t in trials])
    distance = (Bounds.of(losses).scale(losses) ** 2).sum(axis=1)
    return trials[int(distance.argmin())]
