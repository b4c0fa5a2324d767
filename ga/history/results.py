"""What a search has asked for and found so far."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from ga.evaluation import COMPLETE, Candidate, Evaluation
from ga.history.archive import Archive
from ga.history.pareto import hypervolume
from ga.history.termination import hypervolume_history, stagnates
from ga.history.unmet_limits import patience, unmet_limits
from ga.messages import Messages
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome


class Results:
    """Candidates in flight and finished ones, their front, history and end.

    Args:
        objectives: what is optimized.
        constraints: what has limits.
        messages: where the end of the search is said.
        budget: number of trials that are planned.
        stagnation: number of results without growth of the hypervolume that ends the search.

    Attributes:
        archive: finished candidates.
        pending: candidates in flight, by number.
        genomes: of all candidates that fit the search space, by number.
        networks: equal for candidates that are the same network, by number.
        exhausted: whether no new candidate is left.
    """

    def __init__(
        self,
        objectives: Objectives,
        constraints: tuple[Constraint, ...],
        messages: Messages,
        budget: int | None,
        stagnation: int | None,
    ) -> None:
        self._objectives, self._messages = objectives, messages
        self._budget, self._stagnation = budget, stagnation
        self._constraints = constraints
        self.archive = Archive(objectives, constraints)
        self.pending: dict[int, Candidate] = {}
        self.genomes: dict[int, Genome] = {}
        self.networks: dict[int, Hashable] = {}
        self.exhausted = False

    def __contains__(self, number: int) -> bool:
        """Whether a candidate of this number is in flight or finished."""
        return number in self.pending or number in self.archive

    # ---- from the ask to the report

    def start(self, candidate: Candidate, genome: Genome | None, network: Hashable = None) -> None:
        """Note a candidate that is on its way now.

        Args:
            candidate: it.
            genome: its genome; None if it is outside the search space.
            network: equal for candidates that are the same network; None: as was said before.
        """
        self.pending[candidate.id] = candidate
        if network is not None:
            self.networks[candidate.id] = network
        if genome is not None:
            self.genomes[candidate.id] = genome

    def outstanding(self, number: int) -> Candidate:
        """A candidate without a result that counts: in flight, failed or stopped.

        Raises:
            KeyError: an unknown number.
            ValueError: it has a result.
        """
        if number in self.pending:
            return self.pending[number]
        if number not in self.archive:
            raise KeyError(f"candidate {number!r} was never asked for")
        earlier = self.archive[number]
        if earlier.status == COMPLETE:
            raise ValueError(f"candidate {number} was already told: {earlier.metrics}")
        return Candidate(number, earlier.params, None, earlier.origin)

    def complete(self, number: int) -> Evaluation:
        """A candidate that has a result, to be measured once more.

        Raises:
            KeyError: an unknown number.
            ValueError: it has none, or only one that does not count.
        """
        if number not in self:
            raise KeyError(f"candidate {number!r} was never asked for")
        if number not in self.archive.scored:
            state = self.archive[number].status if number in self.archive else "running"
            raise ValueError(f"candidate {number} has no result yet ({state}): use `tell`")
        return self.archive[number]

    def finish(self, evaluation: Evaluation) -> Evaluation:
        """Store an outcome, scored if it is complete.

        Raises:
            ValueError: a metric is missing or not a finite number; nothing is stored then.
        """
        evaluation = self.archive.add(evaluation, self.networks.get(evaluation.id))
        self.pending.pop(evaluation.id, None)
        self._look_at_limits()
        return evaluation

    def _look_at_limits(self) -> None:
        scored = self.archive.scored
        if not self._constraints or self.archive.front() or len(scored) < patience(self._budget):
            return
        text = unmet_limits(self._constraints, {n: e.metrics or {} for n, e in scored.items()})
        if text is not None:
            advice = "Relax a limit, train longer, or let the search space reach further"
            self._messages.once("unmet limits", f"{text}. {advice}; the search goes on")

    # ---- questions that change nothing

    def front(self) -> list[Evaluation]:
        """Feasible evaluations that no other dominates, best first in the first objective."""
        return self.archive.front()

    def front_genomes(self) -> list[Genome]:
        """The genomes of the front, without those outside the search space."""
        return [self.genomes[e.id] for e in self.front() if e.id in self.genomes]

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """The volume between the front and a reference point, in the units of the objectives.

        Args:
            reference: `{metric: value}`, one for each objective; worse than what shall count.

        Raises:
            ValueError: the reference does not name exactly the objectives.
        """
        point = self._objectives.reference(reference)
        return hypervolume([evaluation.losses for evaluation in self.front()], point)

    def hypervolume_history(self, reference: Mapping[str, float] | None = None) -> list[float]:
        """The hypervolume after each complete result, in order of completion.

        Args:
            reference: as for `hypervolume`; None scales every objective to what was observed, the
                reference point just beyond the worst feasible result.
        """
        point = None if reference is None else self._objectives.reference(reference)
        return hypervolume_history(list(self.archive.scored.values()), point)

    def should_stop(self) -> str | None:
        """Why the search is over (`budget`, `stagnation`, `exhausted`), or None."""
        reason = None
        if self.exhausted and not self.pending:
            reason = "exhausted"
        elif self._budget is not None and len(self.archive) >= self._budget:
            reason = "budget"
        elif self._stagnation is not None and stagnates(
            list(self.archive.scored.values()), self._stagnation
        ):
            reason = "stagnation"
        if reason:
            self._messages.once(
                f"end {reason}",
                f"the search ends after {len(self.archive)} results: {reason}",
                trouble=False,
            )
        return reason
