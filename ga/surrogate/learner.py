"""What the surrogate is taught: results, and what stopped trials would probably have come to."""

from __future__ import annotations

from collections.abc import Mapping

from ga.evaluation import COMPLETE, Evaluation
from ga.problem.known_costs import KnownCosts
from ga.problem.search_space import Genome
from ga.surrogate.surrogate import Surrogate


class Learner:
    """Keeps a surrogate and the known costs of what it was taught.

    Args:
        surrogate: knows nothing yet.
        costs: known costs.

    Attributes:
        surrogate: has learned everything so far.
        costed: known costs of every genome that it was taught.
    """

    def __init__(self, surrogate: Surrogate, costs: KnownCosts) -> None:
        self.surrogate, self._costs = surrogate, costs
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
        guessed = evaluation.status != COMPLETE
        self.surrogate.add(genome, self.costed[genome], metrics, guessed=guessed)

    def _costs_of(
        self,
        evaluation: Evaluation,
        costs: Mapping[str, float] | None,
        metrics: Mapping[str, object],
    ) -> Mapping[str, float]:
        """Known costs of a candidate; from its result if it was not asked for here."""
        if costs is not None or not self._costs:
            return costs or {}
        names = self._costs.metrics
        reported = {n: metrics[n] for n in names if n in metrics}
        found = {n: float(v) for n, v in reported.items() if isinstance(v, (int, float))}
        if names and len(found) == len(names):
            return found
        return self._costs.of(evaluation.params) or {}
