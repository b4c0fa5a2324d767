"""When a running trial may be stopped: three policies on what trials report on their way.

What they may look at, and what it says about a trial's end, is in `rungs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import ga
from ga.early_stopping.gain_bands import Band, Lines, Seen

# Of a trial's time: a look at it takes no less, whatever the times of the reports say.
_CHEAPEST = 0.02
# The latest new trials, whose promises say what pays, and how many it takes at least.
_LOOKS = 32
_FEWEST_LOOKS = 4


class Policy(Protocol):
    """Decides after a trial's report."""

    def reason(self, uid: int, seen: Seen) -> str | None:
        """Why the trial should be stopped now; None to let it run."""

    def expected(self, uid: int, seen: Seen) -> Mapping[str, float] | None:
        """What the trial would probably come to; None if nothing says."""

    def again(self, stopped: Sequence[int], seen: Seen, *, new: bool) -> int | None:
        """Which of the stopped trials should be run after all; None for none.

        Args:
            stopped: Those that have not run again yet.
            seen: What is known.
            new: Whether a new candidate would have its slot instead.
        """


class _Final:
    """What most policies say of stopped trials: a straight line to their end, and never again."""

    def expected(self, uid: int, seen: Seen) -> Mapping[str, float] | None:
        """See ``Policy``."""
        lines = Lines.fit(seen)
        return None if lines is None else lines.expected(seen.paths[uid])

    def again(self, stopped: Sequence[int], seen: Seen, *, new: bool) -> int | None:
        """See ``Policy``."""
        return None


@dataclass
class GainBound(_Final):
    """Stops a trial that can't reach the front any more, whatever it may still gain.

    Where a trial ends is expected on a line of its value at the rung, and bounded by how much
    earlier ones came out above theirs: a band over all rungs at once, as wide as a conformal
    quantile asks for (Vovk et al., 2005). A trial's score is its largest studentized residual over
    any rung and metric, in units of the mean there; of ``n`` scores the
    ``ceil((n + 1) (1 - risk))``-th smallest is the band's width. If the new trial is exchangeable
    with those, it leaves the band with a probability of about ``risk`` at most (the lines are
    fitted to the same trials), and only then can it have been stopped wrongly. A search drifts, so
    trials that are spared check this.

    A trial is stopped when even its largest gain leaves it dominated by a result on the front, or
    beyond a limit while the front has a member. Costs don't change on the way: their gains are 0.

    Attributes:
        risk: Bound of a trial's probability of being stopped although it would have reached the
            front.
    """

    risk: float = 0.1
    _fitted: tuple[int, Band | None] = field(default=(-1, None), repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.risk < 1.0:
            raise ValueError(f"risk={self.risk!r} should lie between 0 and 1")

    def reason(self, uid: int, seen: Seen) -> str | None:
        """See ``Policy``."""
        if not seen.front:
            return None
        if self._fitted[0] != len(seen.finals):
            self._fitted = (len(seen.finals), Band.fit(seen, self.risk))
        band, path = self._fitted[1], seen.paths[uid]
        if band is None or len(path) >= band.lines.rungs:
            return None
        best = band.best(path)
        best_losses = np.array(seen.objectives.losses(best))
        for member in seen.front:
            losses = np.array(seen.objectives.losses(member))
            if (losses <= best_losses).all() and (losses < best_losses).any():
                shown = ", ".join(f"{n}={best[n]:.4g}" for n in band.lines.names)
                return f"at best {shown}, which a result on the front dominates"
        for constraint in seen.constraints:
            if constraint.metric in best and constraint.excess(best[constraint.metric]) > 0:
                return (
                    f"at best {constraint.metric}={best[constraint.metric]:.4g}: not {constraint}"
                )
        return None


@dataclass
class Halving(_Final):
    """Asynchronous successive halving (Li et al., 2020), by non-dominated rank.

    At rungs 1, eta, eta^2, ... (times ``first``) a trial goes on only if it is among the best
    ``1 / eta`` of those that have been there so far, ranked by non-dominated sorting and, within a
    rank, by crowding distance. It bounds no risk: it divides the training time.

    Attributes:
        eta: One in ``eta`` goes on.
        first: Reports before the first decision.
    """

    eta: int = 3
    first: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.eta, int) or self.eta < 2:
            raise ValueError(f"eta={self.eta!r} should be a whole number from 2 on")
        if not isinstance(self.first, int) or self.first < 1:
            raise ValueError(f"first={self.first!r} should be a whole number from 1 on")

    def reason(self, uid: int, seen: Seen) -> str | None:
        """See ``Policy``."""
        rung = len(seen.paths[uid])
        if not self._decides(rung) or rung >= seen.whole_rungs:
            return None
        there = [other for other, path in seen.paths.items() if len(path) >= rung]
        if len(there) < self.eta:
            return None
        losses = np.array([seen.objectives.losses(seen.paths[other][rung - 1]) for other in there])
        order = ranked(losses)
        place = order.index(there.index(uid)) + 1
        places = math.ceil(len(there) / self.eta)
        if place <= places:
            return None
        return f"place {place} of {len(there)} at rung {rung}, the best {places} go on"

    def _decides(self, rung: int) -> bool:
        level = self.first
        while level < rung:
            level *= self.eta
        return level == rung


class Promise:
    """Trains where training gains most: stops, for now, what promises too little for its time.

    At each report the end of a trial is forecast from its chromosome and the value there, and with
    it the gain of hypervolume to be expected (``ga.Optimizer.outlooks``). A trial goes on if that
    gain, for the time that is left, comes at a rate that pays, by what the latest new trials
    promised at their first reports (see ``paying_rate``). What is stopped isn't lost: while the
    front moves on new candidates promise less, and before a new one is asked for, a stopped one
    runs again, and to its end, if it now pays to run it anew. Once there is no new one left, those
    run that promise anything. Nothing is stopped before four trials were looked at, nor, after a
    resume, before four more.
    """

    def __init__(self) -> None:
        # What the latest new trials promised at their first reports, by uid.
        self._looks: dict[int, float] = {}

    def reason(self, uid: int, seen: Seen) -> str | None:
        """See ``Policy``."""
        rung = len(seen.paths[uid])
        if not seen.front or rung >= seen.whole_rungs:
            return None
        outlook, left = seen.outlooks([uid]).get(uid), seen.left(rung)
        if outlook is None:
            return None
        if rung == 1:
            self._looks.setdefault(uid, outlook.gain)
        rate = self._rate(seen)
        if rate is None or outlook.gain >= left * rate:
            return None
        return (
            f"for {left:.0%} of a trial it promises {outlook.gain / rate:.0%} of what pays for a "
            "whole one"
        )

    def expected(self, uid: int, seen: Seen) -> Mapping[str, float] | None:
        """See ``Policy``."""
        outlook = seen.outlooks([uid]).get(uid)
        return None if outlook is None else outlook.expected

    def again(self, stopped: Sequence[int], seen: Seen, *, new: bool) -> int | None:
        """See ``Policy``."""
        outlooks = seen.outlooks(stopped)
        best = max(outlooks, key=lambda uid: outlooks[uid].gain, default=None)
        rate = self._rate(seen) if new else 0.0
        if best is None or rate is None:
            return None
        return best if outlooks[best].gain > rate else None

    def _rate(self, seen: Seen) -> float | None:
        """What pays now; None while too few were looked at."""
        latest = list(self._looks.values())[-_LOOKS:]
        if len(latest) < _FEWEST_LOOKS:
            return None
        return paying_rate(latest, 1.0 - seen.left(1))


def paying_rate(gains: Sequence[float], look: float) -> float:
    """Gain per trial's time that pays.

    It is the largest long-run rate of gain if every new candidate is looked at up to its first
    report and only those go on that gain enough: the root ``r`` of
    ``E[max(0, G - r (1 - look))] = r look`` (the reservation value of Weitzman, 1979), over what
    candidates promised once they were looked at. Where looks tell candidates apart few go on;
    where all promise the same after a look as before it, all do.

    Args:
        gains: What candidates promised at their first report.
        look: The share of a trial's time that the first report takes; at least .02 is assumed.
    """
    look = min(max(look, _CHEAPEST), 1.0)
    best = np.cumsum(np.sort(gains)[::-1])
    went_on = np.arange(1, len(best) + 1)
    return float((best / (len(best) * look + went_on * (1.0 - look))).max())


def ranked(losses: NDArray[np.float64]) -> list[int]:
    """Indices from best to worst: by non-dominated rank, then by crowding distance.

    Args:
        losses: ``n x objectives``, smaller is better.
    """
    left = np.arange(len(losses))
    order: list[int] = []
    while len(left):
        first = ga.nondominated(losses[left])
        members = left[first]
        crowding = _crowding(losses[members])
        order += [int(members[i]) for i in np.argsort(-crowding, kind="stable")]
        left = left[~first]
    return order


def _crowding(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to the neighbours along each objective (Deb et al., 2002); the ends are infinite."""
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance


POLICIES: dict[str, Callable[..., Policy]] = {
    "gain": GainBound,
    "halving": Halving,
    "promise": Promise,
}
