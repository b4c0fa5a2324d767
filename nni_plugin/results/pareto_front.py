"""Pareto front and hypervolume of a run, for everything that shows one.

Where a trial's final value is expected, that ranks it, and not what it measured.

The hypervolume shown to people is a share: objectives are scaled so that the best value is 0 and
the worst 1, and the volume up to 1.1 in every direction is divided by the whole box. The box is
that of the first results and never changes again, so the number never falls; it exceeds 1 where a
search leaves the best of those results behind in every direction. Before that there is no number:
a box that grows with the results gave 1.00, 0.10, 0.89 and 0.70 for one and the same growing front.
To compare runs give all of them the same bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from ga.evaluation import COMPLETE
from ga.problem.objectives import Constraint, Objectives, parse_constraints, violation
from nni_plugin.study.trial_log import Trial

__all__ = ["SETTLED_AFTER", "Bounds", "FrontHistory", "knee"]

SETTLED_AFTER = 10
"""Complete trials that the box of the hypervolume is taken from. A choice: an initial design holds
the corners of its space, so its first ten results span most of what a search will see."""
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

    def scale(self, losses: Array) -> Array:
        """Losses scaled to [0, 1] within the box; an objective that never varied becomes 0."""
        span = self.nadir - self.ideal
        # One that varies later on is measured in shares of the value that it had.
        unit = np.where(self.ideal == 0, 1.0, np.abs(self.ideal))
        return np.asarray((losses - self.ideal) / np.where(span > 0, span, unit))

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
        bounds: box of the hypervolume; by default that of the first results.
        settled_after: of how many results, which are complete trials that report every objective.
    """

    def __init__(
        self,
        objectives: Mapping[str, str],
        constraints: Mapping[str, object] | None = None,
        bounds: Bounds | None = None,
        settled_after: int = SETTLED_AFTER,
    ) -> None:
        self.objectives = Objectives.parse(objectives)
        self.constraints: tuple[Constraint, ...] = parse_constraints(constraints or {})
        self._settled_after = settled_after
        self._bounds = bounds
        self._first: list[Array] = []
        self._seen: list[tuple[int, Array | None]] = []
        self._front: list[int] = []
        self._history: list[tuple[int, float]] = []
        self.without_objectives = 0

    def feasible(self, trial: Trial) -> bool:
        """Whether the trial is complete and breaks no constraint; an unreported metric breaks."""
        try:
            return trial.status == COMPLETE and violation(self.constraints, trial.ranked) == 0
        except ValueError:
            return False

    def losses(self, trial: Trial) -> Array | None:
        """The objectives as losses, shape (m,), or None if the trial doesn't report them all."""
        try:
            return np.array(self.objectives.losses(trial.ranked))
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
            usable = losses is not None and self.feasible(trial)
            self._seen.append((trial.uid, losses if usable else None))
            self._enter(len(self._seen) - 1)
            if losses is not None and self._bounds is None:
                self._settle(losses)

    def _settle(self, losses: Array) -> None:
        """Takes a first result; with the last of them the box is known, and the past measured."""
        self._first.append(losses)
        if len(self._first) == self._settled_after:
            self._bounds = Bounds.of(np.array(self._first))
            self._front = []
            for index in range(len(self._seen)):
                self._enter(index)

    def _enter(self, index: int) -> None:
        losses = self._seen[index][1]
        if losses is None or not self._enters(losses):
            return
        kept = [i for i in self._front if not (losses <= self._loss(i)).all()]
        self._front = [*kept, index]
        if self._bounds is not None:
            # A front that grows dominates no less; what rounding takes away is given back.
            volume = max(self.hypervolume, self._bounds.hypervolume(self._matrix()))
            self._history.append((index + 1, volume))

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
        """``(complete trials, hypervolume)`` at each change of the front; empty without a box."""
        return list(self._history)

    @property
    def is_settled(self) -> bool:
        """Whether the box is known, and with it the hypervolume."""
        return self._bounds is not None

    @property
    def hypervolume(self) -> float:
        """Hypervolume now, in boxes; it never falls, and is 0 until there are box and front."""
        return self._history[-1][1] if self._history else 0.0

    @property
    def bounds(self) -> Bounds | None:
        """The box in use; None until it is known."""
        return self._bounds


def knee(trials: Sequence[Trial], objectives: Mapping[str, str]) -> Trial:
    """The trial nearest to the ideal corner, objectives scaled to these trials' range.

    Raises:
        ValueError: no trials, or one that lacks an objective.
    """
    if not trials:
        raise ValueError("the front is empty: there is no knee point to choose")
    parsed = Objectives.parse(objectives)
    losses = np.array([parsed.losses(t.ranked) for t in trials])
    distance = (Bounds.of(losses).scale(losses) ** 2).sum(axis=1)
    return trials[int(distance.argmin())]
