"""The optimizer for a loop that numbers its trials by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import ga
from ga.problem.duplicates import Phenotype


class SearchOptions(TypedDict, total=False):
    """The options of `ga.Optimizer` that an adapter hands on as they are."""

    population_size: int | None
    phenotype: Phenotype | None
    initial: Sequence[Mapping[str, object]]
    sensitivities: Mapping[str, object] | None
    budget: int | None
    survival: str
    surrogate: str
    stagnation: int | None
    strategy: str
    toolbox: Mapping[str, object] | None


class NumberedOptimizer(ga.Optimizer):
    """An optimizer whose candidates have the numbers of someone else's trials.

    A request's randomness is one of the seed and the candidate's number. So two processes that
    share a study never draw the same numbers, and a search that is taken up again goes on as it
    would have.
    """

    def ask_for(self, number: int) -> ga.Candidate:
        """The candidate of a trial that has a number already.

        Args:
            number: from 1 on; numbers may come in any order.

        Raises:
            ValueError: that number was asked for before.
            ga.SpaceExhausted: there is none left.
            ga.UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        if number in self.results:
            raise ValueError(f"candidate {number} was asked for already")
        self._next_id = number
        return self.ask()

    def restore(self, evaluation: ga.Evaluation) -> None:
        """Takes in one evaluation of a log, as `replay` does; a running one is pending again.

        Raises:
            ValueError: its number is known, or it is complete without a usable metric.
        """
        self._restore(evaluation)
