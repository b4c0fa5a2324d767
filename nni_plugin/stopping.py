"""When a running trial may be stopped: two policies on what trials report on their way.

Both work on *paths*: a path is what one trial reported, rung by rung (a rung is a stage or an
epoch), each a dict of metrics in which the costs already have their final values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import ga

Metrics = Mapping[str, float]
Path = Sequence[Metrics]

# The search drifts, so gains of long ago say little about today's trials.
_RECENT = 100


@dataclass(frozen=True)
class Seen:
    """What a policy may look at.

    Attributes:
        objectives: What is optimized.
        constraints: Limits that a front member keeps.
        paths: What each trial reported so far, by uid, in order of their first report.
        finals: Final metrics of the trials that ran to their end, by uid, in order of completion.
        front: Metrics of the feasible, non-dominated results.
    """

    objectives: ga.Objectives
    constraints: Sequence[ga.Constraint]
    paths: Mapping[int, Path]
    finals: Mapping[int, Metrics]
    front: Sequence[Metrics]


class Policy(Protocol):
    """Decides after a trial's report."""

    def reason(self, uid: int, seen: Seen) -> str | None:
        """Why the trial should be stopped now; None to let it run."""


@dataclass
class GainBound:
    """Stops a trial that can't reach the front any more, whatever it may still gain.

    What a trial may gain from each rung to its end is bounded by what earlier ones gained: a band
    over all rungs at once, as wide as a conformal quantile asks for (Vovk et al., 2005). A trial's
    score is its largest gain over any rung and metric, in units of the mean gain there; of ``n``
    scores the ``ceil((n + 1) (1 - risk))``-th smallest is the band's width. If the new trial is
    exchangeable with those, it leaves the band with a probability of at most ``risk``, and only
    then can it have been stopped wrongly. A search drifts, so trials that are spared check this.

    A trial is stopped when even its largest gain leaves it dominated by a result on the front, or
    beyond a limit while the front has a member. Costs don't change on the way: their gains are 0.

    Attributes:
        risk: Upper bound, per trial, of stopping one that would have reached the front.
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
        if band is None or len(path) >= band.rungs:
            return None
        best = band.best(path)
        best_losses = np.array(seen.objectives.losses(best))
        for member in seen.front:
            losses = np.array(seen.objectives.losses(member))
            if (losses <= best_losses).all() and (losses < best_losses).any():
                shown = ", ".join(f"{n}={best[n]:.4g}" for n in band.names)
                return f"at best {shown}, which a result on the front dominates"
        for constraint in seen.constraints:
            if constraint.metric in best and constraint.excess(best[constraint.metric]) > 0:
                return (
                    f"at best {constraint.metric}={best[constraint.metric]:.4g}: not {constraint}"
                )
        return None


@dataclass(frozen=True)
class Band:
    """How much better a metric may still get, by rung.

    Attributes:
        names: The metrics that change on the way.
        signs: 1.0 if smaller is better, -1.0 if larger is.
        room: Bound of the gain, ``rungs x len(names)``.
    """

    names: tuple[str, ...]
    signs: NDArray[np.float64]
    room: NDArray[np.float64]

    @property
    def rungs(self) -> int:
        """Reports of a whole trial."""
        return len(self.room)

    @classmethod
    def fit(cls, seen: Seen, risk: float) -> Band | None:
        """The band of a risk; None while there are too few whole trials."""
        whole = [uid for uid in seen.finals if seen.paths.get(uid)][-_RECENT:]
        if not whole:
            return None
        lengths = [len(seen.paths[uid]) for uid in whole]
        rungs = max(set(lengths), key=lengths.count)
        whole = [uid for uid in whole if len(seen.paths[uid]) == rungs]
        rank = math.ceil((len(whole) + 1) * (1 - risk))
        if rank > len(whole):
            return None
        signs_of = _directions(seen)
        names = tuple(
            name
            for name in signs_of
            if all(name in report for uid in whole for report in seen.paths[uid])
        )
        signs = np.array([signs_of[name] for name in names])
        on_the_way = np.array(
            [[[report[name] for name in names] for report in seen.paths[uid]] for uid in whole]
        )
        at_the_end = np.array([[seen.finals[uid][name] for name in names] for uid in whole])
        gains = signs * (on_the_way - at_the_end[:, None, :])
        scale = np.abs(gains).mean(axis=0)
        # Where nothing has ever changed (costs, the last rung) a gain of any size is out of bounds.
        moving = scale > 1e-9 * (1.0 + np.abs(on_the_way).mean(axis=0))
        scores = np.where(moving, gains / np.where(moving, scale, 1.0), 0.0).max(axis=(1, 2))
        width = max(float(np.sort(scores)[rank - 1]), 0.0)
        room = np.where(moving, width * scale, 0.0)
        changing = moving.any(axis=0)
        kept = tuple(name for name, changes in zip(names, changing, strict=True) if changes)
        return cls(kept, signs[changing], room[:, changing])

    def best(self, path: Path) -> dict[str, float]:
        """A trial's metrics at its end, were it to gain all that the band allows."""
        last = path[-1]
        room = self.room[len(path) - 1]
        better = {
            name: last[name] - sign * gain
            for name, sign, gain in zip(self.names, self.signs, room, strict=True)
        }
        return {**last, **better}


@dataclass
class Halving:
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
        if not self._decides(rung) or rung >= _whole(seen):
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


def _whole(seen: Seen) -> float:
    """Reports of a trial that runs to its end, as far as one did: there is nothing to save then."""
    lengths = [len(seen.paths[uid]) for uid in seen.finals if uid in seen.paths]
    return max(lengths, default=math.inf)


def _directions(seen: Seen) -> dict[str, float]:
    """1.0 or -1.0 for each metric of an objective or a limit, by which way is better."""
    limits: Iterable[tuple[str, float]] = (
        (c.metric, 1.0 if c.operator[0] == "<" else -1.0) for c in seen.constraints
    )
    return {**dict(limits), **dict(zip(seen.objectives.names, seen.objectives.signs, strict=True))}


POLICIES: dict[str, Callable[..., Policy]] = {"gain": GainBound, "halving": Halving}
