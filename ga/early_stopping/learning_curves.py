"""Learning curves: what a trial's reports say of its end, beside what its chromosome says.

A learning curve is what one trial has reported so far, rung by rung. A rung is the number of a
report: the score after post-training quantization, after one epoch, and so on. The costs have
their final values in every report. At each rung a Gaussian process learns the ends of whole trials
from chromosome, known costs and the value there; it forecasts the end of a trial that is at that
rung, or was stopped at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ga.acquisition.improvement import ImprovementRegion
from ga.problem.objectives import Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.features import Features
from ga.surrogate.surrogate import Forecast, Surrogate
from ga.surrogate.warped_process import Shape, WarpedGaussianProcess

Array = NDArray[np.float64]
LearningCurve = Sequence[Mapping[str, float]]

# Whole trials from which a process learns (as many as the search's design has), those from which on
# its hyperparameters are fitted anew, and after how many more each time. Choices: that fit is what
# takes time.
_FEWEST = 12
_SECOND = 16
_EVERY_SHAPE = 8
# A choice: the search drifts, so what trials of long ago did says little about today's.
_RECENT = 100
# Of the range of the ends: how far beyond the best one distances are measured from, as in
# `ga.surrogate.gaussian_process`, and the smallest one, for values at a rung that are better than
# any end (a choice).
_BEYOND = 0.02
_NEAREST = 1e-3


@dataclass(frozen=True)
class Outlook:
    """What a trial that was not run to its end is worth.

    Attributes:
        expected: its probable final metrics.
        gain: expected growth of the hypervolume, scaled to what was observed, if it is run.
    """

    expected: dict[str, float]
    gain: float


@dataclass(frozen=True)
class TrialCurve:
    """A trial: what it ran and what it reported.

    Attributes:
        genome: the candidate's.
        costs: known before it.
        curve: its reports, rung by rung.
        final: its result; None while there is none.
    """

    genome: Genome
    costs: Mapping[str, float]
    curve: LearningCurve
    final: Mapping[str, float] | None = None

    def has(self, name: str, rung: int) -> bool:
        """Whether a metric was reported at a rung and at the end."""
        return (
            self.final is not None
            and name in self.final
            and len(self.curve) > rung
            and name in self.curve[rung]
        )


class LearningCurveModel:
    """Forecasts the ends of trials from their reports.

    Args:
        space: the search space.
        objectives: what is optimized; the known ones are taken as they are.
        sensitivities: as for the surrogate.
    """

    def __init__(
        self, space: SearchSpace, objectives: Objectives, sensitivities: Sensitivities
    ) -> None:
        self._features = Features(space, sensitivities)
        self._objectives = objectives
        self._shapes: dict[tuple[object, ...], Shape | None] = {}

    def outlooks(
        self,
        asked: Mapping[int, TrialCurve],
        whole: Sequence[TrialCurve],
        surrogate: Surrogate,
        region: ImprovementRegion,
    ) -> dict[int, Outlook]:
        """What trials that have reported are worth.

        Args:
            asked: they, by candidate.
            whole: trials that ran to their ends, in order of completion.
            surrogate: forecasts what reports say nothing of.
            region: what is to be won.

        Returns:
            One for each at whose rung enough whole trials have been.
        """
        rungs: dict[int, list[int]] = {}
        for number, trial in asked.items():
            rungs.setdefault(len(trial.curve) - 1, []).append(number)
        found = {}
        for rung, numbers in rungs.items():
            trials = [asked[number] for number in numbers]
            forecast = self._forecast(rung, trials, whole, surrogate)
            if forecast is None:
                continue
            gains = region.gains(*region.scaled(forecast))
            gains = np.where(forecast.known, gains * forecast.feasible, 0.0)
            ends = forecast.mean * np.array(self._objectives.signs)
            for number, gain, end in zip(numbers, gains.tolist(), ends.tolist(), strict=True):
                expected = dict(zip(self._objectives.names, end, strict=True))
                found[number] = Outlook({**asked[number].curve[-1], **expected}, gain)
        return found

    def _forecast(
        self,
        rung: int,
        asked: Sequence[TrialCurve],
        whole: Sequence[TrialCurve],
        surrogate: Surrogate,
    ) -> Forecast | None:
        """The surrogate's, but for the objectives that were reported; None if there is none."""
        forecast = surrogate.forecast([c.genome for c in asked], [c.costs for c in asked])
        mean, deviation = forecast.mean.copy(), forecast.deviation.copy()
        floor, reported = forecast.floor.copy(), False
        for i, (name, sign) in enumerate(
            zip(self._objectives.names, self._objectives.signs, strict=True)
        ):
            if any(name in trial.costs for trial in asked):
                continue
            ends = self._ends(name, sign, rung, asked, whole)
            if ends is not None:
                values, deviation[:, i], floor[i] = ends
                mean[:, i], reported = sign * values, True
        if not reported:
            return None
        return replace(forecast, mean=mean, deviation=deviation, floor=floor)

    def _ends(
        self,
        name: str,
        sign: float,
        rung: int,
        asked: Sequence[TrialCurve],
        whole: Sequence[TrialCurve],
    ) -> tuple[Array, Array, float] | None:
        """Means, deviations and floor of a metric's ends; None if too few trials reported it."""
        there = [trial for trial in whole if trial.has(name, rung)]
        if len(there) < _FEWEST or not all(name in trial.curve[rung] for trial in asked):
            return None
        costs = sorted({*asked[0].costs}.union(*(trial.costs for trial in there)))
        ends = _RungModel(self._features, name, sign, rung, costs)
        known = len(there) - len(there) % _EVERY_SHAPE if len(there) >= _SECOND else _FEWEST
        key = (name, rung, tuple(costs), known)
        if key not in self._shapes:
            self._shapes[key] = ends.fit(there[:known][-_RECENT:]).shape
        process = ends.fit(there[-_RECENT:], self._shapes[key])
        return *process.predict(ends.rows(asked)), process.floor


@dataclass
class _RungModel:
    """A metric at a rung, as a process sees it."""

    features: Features
    name: str
    sign: float
    rung: int
    costs: Sequence[str]
    best: float = 0.0
    span: float = 1.0

    def fit(
        self, trials: Sequence[TrialCurve], shape: Shape | None = None
    ) -> WarpedGaussianProcess:
        ends = np.array([(trial.final or {})[self.name] for trial in trials])
        self.best = float((self.sign * ends).min())
        self.span = float(np.ptp(ends)) or 1.0
        groups = self.features.groups(len(self.costs))
        model = WarpedGaussianProcess([*groups, max(groups) + 1], self.sign, shape)
        model.fit(self.rows(trials), ends)
        return model

    def rows(self, trials: Sequence[TrialCurve]) -> Array:
        """Features and the values, on the logarithm that may be taken of the ends."""
        rows = self.features.rows(
            [trial.genome for trial in trials], [trial.costs for trial in trials], self.costs
        )
        values = np.array([trial.curve[self.rung][self.name] for trial in trials])
        away = (self.sign * values - self.best) / self.span + _BEYOND
        return np.column_stack([rows, np.log(np.maximum(away, _NEAREST))])
