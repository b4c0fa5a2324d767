"""What a search has found so far: questions that change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ga.evaluation import Candidate, Evaluation
from ga.history.archive import Archive
from ga.history.importance import importances
from ga.history.pareto import hypervolume
from ga.history.termination import hypervolume_history, stagnates
from ga.messages import Notes
from ga.problem.objectives import Objectives, parse_constraints
from ga.problem.search_space import Genome, SearchSpace


class Findings:
    """The part of an optimizer that answers: its results, their front, history and end.

    Args:
        space: what is searched.
        objectives: `{metric: "maximize" | "minimize"}`.
        constraints: `{metric: "<= 256"}`, or a list of bounds for a metric.
        seed: of the trees that the importances come from.
        budget: number of trials that are planned.
        stagnation: number of results without growth of the hypervolume that ends the search.

    Raises:
        ValueError: objectives or constraints that make no sense.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Mapping[str, str],
        constraints: Mapping[str, Any] | Sequence[Any],
        seed: int,
        budget: int | None,
        stagnation: int | None,
    ) -> None:
        self.space = space
        self.objectives = Objectives.parse(objectives)
        self.constraints = parse_constraints(constraints)
        self.seed = seed
        self.notes = Notes()
        self._budget, self._stagnation = budget, stagnation
        self._archive = Archive(self.objectives, self.constraints)
        self._genomes: dict[int, Genome] = {}
        self._pending: dict[int, Candidate] = {}
        self._exhausted = False

    @property
    def evaluations(self) -> list[Evaluation]:
        """All finished candidates (complete, failed, censored) in order of completion."""
        return self._archive.finished

    @property
    def pending(self) -> list[Candidate]:
        """Candidates that were asked for and are not finished."""
        return list(self._pending.values())

    def front(self) -> list[Evaluation]:
        """Feasible evaluations that no other dominates, best first in the first objective."""
        return [scored.evaluation for scored in self._archive.front()]

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """The volume between the front and a reference point, in the units of the objectives.

        Args:
            reference: `{metric: value}`, one for each objective; worse than what shall count.

        Raises:
            ValueError: the reference does not name exactly the objectives.
        """
        point = self.objectives.reference(reference)
        return hypervolume([scored.losses for scored in self._archive.front()], point)

    def hypervolume_history(self, reference: Mapping[str, float] | None = None) -> list[float]:
        """The hypervolume after each complete result, in order of completion.

        Args:
            reference: as for `hypervolume`; None scales every objective to what was observed, the
                reference point just beyond the worst feasible result.
        """
        point = None if reference is None else self.objectives.reference(reference)
        return hypervolume_history(list(self._archive.scored.values()), point)

    def importances(self) -> dict[str, dict[str, float]]:
        """For each objective, the share of its variation that each gene accounts for."""
        scored = [s for n, s in self._archive.scored.items() if n in self._genomes]
        genomes = [self._genomes[s.evaluation.id] for s in scored]
        return {
            name: importances(self.space, genomes, [s.losses[i] for s in scored], self.seed)
            for i, name in enumerate(self.objectives.names)
        }

    def should_stop(self) -> str | None:
        """Why the search is over (`budget`, `stagnation`, `exhausted`), or None."""
        reason = None
        if self._exhausted and not self._pending:
            reason = "exhausted"
        elif self._budget is not None and len(self._archive) >= self._budget:
            reason = "budget"
        elif self._stagnation is not None and stagnates(
            list(self._archive.scored.values()), self._stagnation
        ):
            reason = "stagnation"
        if reason:
            self.notes.once(
                f"end {reason}", f"the search ends after {len(self._archive)} results: {reason}"
            )
        return reason
