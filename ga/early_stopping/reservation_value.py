"""Stopping by reservation value: a trial goes on while it gains more for its time than a new one.

Looking at a candidate costs the time up to its first report, and training it to its end the rest.
Whom to look at and when to go on is the problem of Weitzman, "Optimal Search for the Best
Alternative", Econometrica 47(3), 1979; his answer is a reservation value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.policy import SearchState

# Of a trial's time: a look at it takes no less, whatever the times of the reports say. A choice,
# so that the rate stays finite where a first report comes at once.
_CHEAPEST = 0.02
# The latest new trials, whose gains at a look say what pays, and how many it takes at least: a
# choice, between following the search as it moves on and a steady mean.
_LOOKS = 32
_FEWEST_LOOKS = 4


class ReservationValue:
    """Trains where training gains most: stops, for now, what gains too little for its time.

    At each report the end of a trial is forecast from its chromosome and the value there, and with
    it the gain of hypervolume to be expected (`ga.Optimizer.outlooks`). A trial goes on if that
    gain, for the time that is left, comes at a rate that pays, by what was expected of the latest
    new trials at their first reports (see `reservation_rate`). What is stopped isn't lost: while
    the front moves on new candidates promise less, and before a new one is asked for, a stopped
    one runs again, and to its end, if it now pays to run it anew. Once there is no new one left,
    those run that promise anything. Nothing is stopped before four trials were looked at, nor,
    after a resume, before four more.
    """

    def __init__(self) -> None:
        # What was to be gained from the latest new trials at their first reports, by number.
        self._gains: dict[int, float] = {}

    def decide(self, number: int, state: SearchState) -> StopDecision | None:
        """See `Policy`."""
        curve = state.curves[number]
        rung = len(curve)
        if not state.front or rung >= state.whole_rungs:
            return None
        outlook, left = state.outlooks([number]).get(number), state.left(rung)
        if outlook is None:
            return None
        if rung == 1:
            self._gains.setdefault(number, outlook.gain)
        rate = self._rate(state)
        if rate is None or outlook.gain >= left * rate:
            return None
        reason = (
            f"for {left:.0%} of a trial it promises {outlook.gain / rate:.0%} of what pays for a "
            "whole one"
        )
        return StopDecision(dict(curve[-1]), rung, reason, outlook.expected)

    def reopen(self, stopped: Sequence[int], state: SearchState, *, new: bool) -> int | None:
        """See `Policy`."""
        outlooks = state.outlooks(stopped)
        best = max(outlooks, key=lambda number: outlooks[number].gain, default=None)
        rate = self._rate(state) if new else 0.0
        if best is None or rate is None:
            return None
        return best if outlooks[best].gain > rate else None

    def _rate(self, state: SearchState) -> float | None:
        """What pays now; None while too few were looked at."""
        latest = list(self._gains.values())[-_LOOKS:]
        if len(latest) < _FEWEST_LOOKS:
            return None
        return reservation_rate(latest, 1.0 - state.left(1))


def reservation_rate(gains: Sequence[float], look: float) -> float:
    """Gain per trial's time that pays.

    It is the largest long-run rate of gain if every new candidate is looked at up to its first
    report and only those go on that gain enough: the root `r` of
    `E[max(0, G - r (1 - look))] = r look` (Weitzman, 1979), over the gains that were expected once
    candidates were looked at. Where looks tell candidates apart few go on; where all promise the
    same after a look as before it, all do.

    Args:
        gains: what was to be gained from candidates at their first report.
        look: the share of a trial's time that the first report takes; at least .02 is assumed.
    """
    look = min(max(look, _CHEAPEST), 1.0)
    best = np.cumsum(np.sort(gains)[::-1])
    went_on = np.arange(1, len(best) + 1)
    return float((best / (len(best) * look + went_on * (1.0 - look))).max())
