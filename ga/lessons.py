"""What the surrogate is taught: results, and what stopped trials would probably have come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ga.costs import KnownCosts
from ga.evaluation import COMPLETE, Evaluation
from ga.space import Genome
from ga.surrogate import Surrogate


class Lessons:
    """Keeps a surrogate and the known costs of what it was taught.

    Args:
        make: a surrogate that knows nothing yet.
        costs: known costs.

    Attributes:
        surrogate: the one that has learned everything so far.
        costed: known costs of every genome that it was taught.
    """

    def __init__(self, make: Callable[[], Surrogate], costs: KnownCosts) -> None:
        self._make, self._costs = make, costs
        self.surrogate = make()
        self.costed: dict[Genome, Mapping[str, float]] = {}

    def learn(
        self,
        genome: Genome | None,
        evaluation: Evaluation,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        """Teach one evaluation; nothing happens if it has neither metrics nor expected ones.

        Args:
            genome: its genome; None if it is outside the space.
            evaluation: the result.
            costs: what was known before its trial, if it was asked for here.
        """
        metrics = evaluation.metrics if evaluation.status == COMPLETE else evaluation.expected
        if genome is None or metrics is None:
            return
        if costs is not None or genome not in self.costed:
            self.costed[genome] = self._costs_of(evaluation, costs, metrics)
        self.surrogate.add(genome, self.costed[genome], metrics)

    def relearn(self, evaluations: Iterable[tuple[Genome | None, Evaluation]]) -> None:
        """Forget everything, then learn these: as if the search were replayed."""
        self.surrogate = self._make()
        for genome, evaluation in evaluations:
            self.learn(genome, evaluation)

    def _costs_of(
        self,
        evaluation: Evaluation,
        costs: Mapping[str, float] | None,
        metrics: Mapping[str, Any],
    ) -> Mapping[str, float]:
        """Known costs of a candidate; from its result if it was not asked for here."""
        if costs is not None or not self._costs:
            return costs or {}
        names = self._costs.metrics
        if names and all(isinstance(metrics.get(name), (int, float)) for name in names):
            return {name: float(metrics[name]) for name in names}
        return self._costs.of(evaluation.params) or {}
