"""Asynchronous successive halving: at some rungs only the best part of the trials goes on.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (ASHA); for several
objectives the best are those that NSGA-II would select (Deb et al., 2002), through DEAP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deap import base, tools

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.policy import SearchState


@dataclass
class SuccessiveHalving:
    """Asynchronous successive halving, by non-dominated rank and crowding distance.

    At rungs 1, eta, eta^2, ... (times `first`) a trial goes on only if it is among the best
    `1 / eta` of those that have been there so far. It bounds no risk: it divides the training time.

    Attributes:
        eta: one in `eta` goes on.
        first: reports before the first decision.
    """

    eta: int = 3
    first: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.eta, int) or self.eta < 2:
            raise ValueError(f"eta={self.eta!r} should be a whole number from 2 on")
        if not isinstance(self.first, int) or self.first < 1:
            raise ValueError(f"first={self.first!r} should be a whole number from 1 on")

    def decide(self, number: int, state: SearchState) -> StopDecision | None:
        """See `Policy`."""
        curve = state.curves[number]
        rung = len(curve)
        if not self._decides(rung) or rung >= state.whole_rungs:
            return None
        there = [other for other, its in state.curves.items() if len(its) >= rung]
        if len(there) < self.eta:
            return None
        places = math.ceil(len(there) / self.eta)
        losses = [state.objectives.losses(state.curves[other][rung - 1]) for other in there]
        if there.index(number) in selected(losses, places):
            return None
        outlook = state.outlooks([number]).get(number)
        return StopDecision(
            dict(curve[-1]),
            rung,
            f"not among the best {places} of {len(there)} at rung {rung}",
            None if outlook is None else outlook.expected,
        )

    def reopen(self, stopped: Sequence[int], state: SearchState, *, new: bool) -> int | None:
        """See `Policy`: what is stopped stays stopped."""
        return None

    def _decides(self, rung: int) -> bool:
        level = self.first
        while level < rung:
            level *= self.eta
        return level == rung


@dataclass(eq=False)
class _Report:
    """A trial at a rung, in the form that DEAP sorts."""

    place: int
    fitness: base.Fitness


def selected(losses: Sequence[Sequence[float]], count: int) -> list[int]:
    """Places of the best by non-dominated rank, then by crowding distance.

    Args:
        losses: `n x objectives`, smaller is better.
        count: how many.
    """
    objectives = len(losses[0])
    minimized = type("Minimized", (base.Fitness,), {"weights": (-1.0,) * objectives})
    reports = [_Report(place, minimized(values)) for place, values in enumerate(losses)]
    # DEAP's divide and conquer pays off from a hundred on, and needs two objectives.
    sort = "log" if len(reports) > 100 and objectives > 1 else "standard"
    return [report.place for report in tools.selNSGA2(reports, count, nd=sort)]
