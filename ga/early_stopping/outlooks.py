"""Outlooks: what may come of candidates, by all that is known at the moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ga.acquisition.improvement import ImprovementRegion
from ga.arrays import Array
from ga.early_stopping.learning_curves import LearningCurve, LearningCurveModel, Outlook, TrialCurve
from ga.evaluation import Candidate
from ga.history.archive import Archive
from ga.problem.search_space import Genome
from ga.surrogate.learner import Learner

# Forecasts of all results would take most of a request's time after thousands; a process learns as
# many.
_MOST_CONTENDERS = 256


class Outlooks:
    """Looks at an optimizer's candidates, and changes none of them.

    Args:
        archive: results.
        genomes: of candidates, by number.
        pending: candidates in flight.
        learner: what was learned from results.
        learning_curves: learns from reports on the way.
        limits: per objective, the largest loss that its own bounds allow; infinite without one.
    """

    def __init__(
        self,
        archive: Archive,
        genomes: Mapping[int, Genome],
        pending: Mapping[int, Candidate],
        learner: Learner,
        learning_curves: LearningCurveModel,
        limits: Sequence[float],
    ) -> None:
        self._archive, self._genomes, self._pending = archive, genomes, pending
        self._learner, self._learning_curves = learner, learning_curves
        self._limits = np.array(limits)

    def region(self, but: Collection[int] = ()) -> ImprovementRegion:
        """What is to be won; candidates in flight count as if told, but for some."""
        front = self._believed_front()
        observed = self._archive.extremes
        pending = [
            (self._genomes[number], candidate.costs or {})
            for number, candidate in self._pending.items()
            if number in self._genomes and number not in but
        ]
        running = None
        if pending:
            genomes, costs = zip(*pending, strict=True)
            running = self._learner.surrogate.forecast(genomes, costs, again=True)
        return ImprovementRegion(front, observed, self._limits, running)

    def _believed_front(self) -> Array:
        """Losses of the front, as the predictors see them: a lucky result is not its network.

        What keeps the limits and is dominated by none is decided by these losses as well. Where no
        sensitivities inform the forecasts, results count as they are: on NAS-Bench-201, which has
        no noise, believing forecasts was worse (.9883 against .9909 after 50 trials, five seeds).
        """
        if not self._learner.surrogate.is_informed:
            return np.array([scored.losses for scored in self._archive.front()])
        known = [
            (genome, self._learner.costed[genome])
            for number in self._contenders()
            if (genome := self._genomes.get(number)) in self._learner.costed
        ]
        if not known:
            return np.array([scored.losses for scored in self._archive.front()])
        genomes, costs = zip(*known, strict=True)
        forecast = self._learner.surrogate.forecast(genomes, costs, again=True)
        return np.asarray(forecast.mean[(forecast.violation == 0) & forecast.known])

    def _contenders(self) -> Sequence[int]:
        """Results that may be on the believed front: all, of very many the front and the latest."""
        scored = list(self._archive.scored)
        if len(scored) <= _MOST_CONTENDERS:
            return scored
        front = [evaluation.id for evaluation in self._archive.front()]
        return list(dict.fromkeys([*front, *scored[-_MOST_CONTENDERS:]]))

    def of(self, curves: Mapping[int, LearningCurve], numbers: Iterable[int]) -> dict[int, Outlook]:
        """What trials are worth that are on their way or were stopped; needs fitted predictors.

        Args:
            curves: what every trial has reported so far, by candidate.
            numbers: the candidates that are asked about.
        """
        asked = {n: self._trial(n, curves) for n in numbers if curves.get(n) and n in self._genomes}
        if not asked:
            return {}
        whole = [self._trial(n, curves) for n in self._archive.scored if n in self._genomes]
        surrogate, region = self._learner.surrogate, self.region(asked)
        return self._learning_curves.outlooks(asked, whole, surrogate, region)

    def _trial(self, number: int, curves: Mapping[int, LearningCurve]) -> TrialCurve:
        genome, candidate = self._genomes[number], self._pending.get(number)
        costs = self._learner.costed.get(genome) if candidate is None else candidate.costs
        scored = self._archive.scored.get(number)
        final = None if scored is None else scored.metrics
        return TrialCurve(genome, costs or {}, curves.get(number, ()), final)
