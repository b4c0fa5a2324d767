"""What an optimizer says of its search; it changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ga.beliefs import Belief, beliefs, front_of
from ga.early_stopping.learning_curves import LearningCurve, Outlook
from ga.early_stopping.outlooks import Outlooks
from ga.evaluation import Candidate, Evaluation
from ga.history.results import Results
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Constraint, Objectives
from ga.surrogate.learner import Learner


class Reporting:
    """The side of an optimizer that is read.

    Attributes:
        results: what was asked for and found.
    """

    objectives: Objectives
    constraints: tuple[Constraint, ...]
    results: Results
    _learner: Learner
    _costs: KnownCosts
    _outlooks: Outlooks

    @property
    def evaluations(self) -> list[Evaluation]:
        """All finished candidates (complete, failed, censored) in order of completion."""
        return self.results.archive.finished

    @property
    def pending(self) -> list[Candidate]:
        """Candidates that were asked for and are not finished."""
        return list(self.results.pending.values())

    def front(self) -> list[Evaluation]:
        """Feasible evaluations that no other dominates, best first in the first objective."""
        return self.results.front()

    def beliefs(self, evaluations: Sequence[Evaluation] | None = None) -> list[Belief]:
        """What complete evaluations probably are worth: posterior means and 90 % intervals.

        Metrics that scatter hardly, and known costs, are left as they were measured; so is
        everything while there are fewer than ten results.

        Args:
            evaluations: whose; None: those of the front.
        """
        asked = self.front() if evaluations is None else evaluations
        learner, genomes = self._learner, self.results.genomes
        return beliefs(learner.surrogate, self._costs.metrics, asked, genomes, learner.costed)

    def believed_front(self) -> list[Belief]:
        """The front if every network counts by its posterior mean, not by its reading.

        Best first in the first objective; of one network the first evaluation.
        """
        believed = self.beliefs(self.results.archive.apart())
        return front_of(believed, self.objectives, self.constraints)

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """The volume between the front and a reference point; see `Results.hypervolume`."""
        return self.results.hypervolume(reference)

    def hypervolume_history(self, reference: Mapping[str, float] | None = None) -> list[float]:
        """The hypervolume after each complete result; see `Results.hypervolume_history`."""
        return self.results.hypervolume_history(reference)

    def should_stop(self) -> str | None:
        """Why the search is over (`budget`, `stagnation`, `exhausted`), or None."""
        return self.results.should_stop()

    @property
    def rank_correlation(self) -> dict[str, float]:
        """Kendall's tau of the surrogate on held-back results, per expensive metric."""
        return dict(self._learner.surrogate.tau)

    def outlooks(
        self, curves: Mapping[int, LearningCurve], numbers: Iterable[int]
    ) -> dict[int, Outlook]:
        """What trials are worth that are on their way, or were stopped there.

        Args:
            curves: what every trial has reported so far, by candidate.
            numbers: the candidates that are asked about.

        Returns:
            One for each that has reported; nothing while too few trials ran to their ends, or the
            surrogate is not relied on.
        """
        if not self._learner.surrogate.prepare(self._costs.metrics):
            return {}
        return self._outlooks.of(curves, numbers)
