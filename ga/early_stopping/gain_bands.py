"""What a trial's reports on its way say about its end, learned from trials that ran to theirs.

A *path* is what one trial reported, rung by rung (a rung is a stage or an epoch), each a dict of
metrics in which the costs already have their final values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import ga

Array = NDArray[np.float64]
Metrics = Mapping[str, float]
Path = Sequence[Metrics]

# The search drifts, so what trials of long ago did says little about today's.
_RECENT = 100
# Trials that ran to their end before another's end is guessed.
_FEWEST = 8


@dataclass(frozen=True)
class Seen:
    """What a policy may look at.

    Attributes:
        objectives: What is optimized.
        constraints: Limits that a front member keeps.
        paths: What each trial reported so far, by uid, in order of their first report.
        finals: Final metrics of the trials that ran to their end, by uid, in order of completion.
        front: Metrics of the feasible, non-dominated results.
        elapsed: Seconds from each trial's start to its reports, by uid; none if not known.
        outlooks: What trials that are not at their ends are worth, by uid; see
            ``ga.Optimizer.outlooks``.
    """

    objectives: ga.Objectives
    constraints: Sequence[ga.Constraint]
    paths: Mapping[int, Path]
    finals: Mapping[int, Metrics]
    front: Sequence[Metrics]
    elapsed: Mapping[int, Sequence[float]] = field(default_factory=dict)
    outlooks: Callable[[Sequence[int]], Mapping[int, ga.Outlook]] = lambda uids: {}

    @property
    def directions(self) -> dict[str, float]:
        """1.0 or -1.0 for each metric of an objective or a limit: smaller or larger is better."""
        limits: Iterable[tuple[str, float]] = (
            (c.metric, 1.0 if c.operator[0] == "<" else -1.0) for c in self.constraints
        )
        goals = zip(self.objectives.names, self.objectives.signs, strict=True)
        return {**dict(limits), **dict(goals)}

    @property
    def whole_rungs(self) -> float:
        """Reports of a trial that runs to its end; infinite while none did."""
        lengths = [len(self.paths[uid]) for uid in self.finals if uid in self.paths]
        return max(lengths, default=math.inf)

    def left(self, rung: int) -> float:
        """The share of a trial's cost that is still to come after a rung, from 0 to 1.

        By the mean times of whole trials; by the number of reports while there are none.

        Args:
            rung: Reports so far.
        """
        timed = [self.elapsed[uid] for uid in self.finals if self.elapsed.get(uid)][-_RECENT:]
        timed = [times for times in timed if len(times) >= self.whole_rungs > 0]
        total = sum(times[-1] for times in timed)
        if total > 0:
            return 1.0 - sum(times[rung - 1] for times in timed) / total
        return max(0.0, 1.0 - rung / self.whole_rungs)


@dataclass(frozen=True)
class Lines:
    """The end of a trial as straight lines of its value at each rung, by least squares.

    Those that start low gain more, so a line says more than a mean gain.

    Attributes:
        names: The metrics that change on the way; the others' lines are their own values.
        signs: Per name, 1.0 if smaller is better, -1.0 if larger is.
        slope: ``rungs x names``.
        start: Mean value at the rung, ``rungs x names``.
        end: Mean final value, ``rungs x names``.
        squares: Sum of the squared deviations from ``start``, ``rungs x names``.
        misses: What trials came out better than their lines, in studentized units, ``n x rungs x
            names``.
        low: Per name, the smallest final value.
        high: Per name, the largest one.
    """

    names: tuple[str, ...]
    signs: Array
    slope: Array
    start: Array
    end: Array
    squares: Array
    misses: Array
    low: Array
    high: Array

    @property
    def rungs(self) -> int:
        """Reports of a whole trial."""
        return len(self.slope)

    @classmethod
    def fit(cls, seen: Seen) -> Lines | None:
        """The lines of the latest whole trials of the usual length; None if there is none."""
        whole = [uid for uid in seen.finals if seen.paths.get(uid)][-_RECENT:]
        if not whole:
            return None
        lengths = [len(seen.paths[uid]) for uid in whole]
        rungs = max(set(lengths), key=lengths.count)
        whole = [uid for uid in whole if len(seen.paths[uid]) == rungs]
        names = [
            name
            for name in seen.directions
            if all(name in report for uid in whole for report in seen.paths[uid])
        ]
        shape = (len(whole), rungs, len(names))
        now = np.array([[[r[n] for n in names] for r in seen.paths[uid]] for uid in whole])
        now = now.reshape(shape)
        final = np.array([[seen.finals[uid][name] for name in names] for uid in whole])
        # Costs are what they are from the first report on: no line is needed, nor its rounding.
        gains = np.abs(now - final[:, None, :]).mean(axis=0)
        moving = (gains > 1e-9 * (1.0 + np.abs(now).mean(axis=0))).any(axis=0)
        now, final = now[:, :, moving], final[:, moving]
        kept = tuple(name for name, moves in zip(names, moving, strict=True) if moves)
        signs = np.array([seen.directions[name] for name in kept])
        start, end = now.mean(axis=0), np.broadcast_to(final.mean(axis=0), now.shape[1:])
        squares = ((now - start) ** 2).sum(axis=0)
        safe = np.where(squares > 0, squares, 1.0)
        slope = ((now - start) * (final[:, None, :] - end)).sum(axis=0) / safe
        residual = signs * (end + slope * (now - start) - final[:, None, :])
        leverage = 1 / len(whole) + (now - start) ** 2 / safe
        misses = residual / np.sqrt(np.maximum(1 - leverage, 1e-6))
        low, high = final.min(axis=0), final.max(axis=0)
        return cls(kept, signs, slope, start, end, squares, misses, low, high)

    def at(self, path: Path) -> tuple[Array, Array]:
        """Expected final values, and by how much wider than ``misses`` they scatter there."""
        rung = len(path) - 1
        away = np.array([path[-1][name] for name in self.names]) - self.start[rung]
        squares = np.where(self.squares[rung] > 0, self.squares[rung], 1.0)
        widening = np.sqrt(1 + 1 / len(self.misses) + away**2 / squares)
        return self.end[rung] + self.slope[rung] * away, widening

    def expected(self, path: Path) -> dict[str, float] | None:
        """A trial's probable metrics at its end, within what others reached; None if too few did.

        Args:
            path: Its reports so far, fewer than a whole trial's.
        """
        if len(self.misses) < _FEWEST or any(name not in path[-1] for name in self.names):
            return None
        values = np.clip(self.at(path)[0], self.low, self.high)
        return {**path[-1], **dict(zip(self.names, values.tolist(), strict=True))}


@dataclass(frozen=True)
class Band:
    """How good a trial may still become: its line and as much above as a risk asks for.

    Attributes:
        lines: Expected ends.
        room: Bound of the gain beyond the line where ``misses`` apply, ``rungs x names``.
    """

    lines: Lines
    room: Array

    @classmethod
    def fit(cls, seen: Seen, risk: float) -> Band | None:
        """The band of a risk; None while there are too few whole trials."""
        lines = Lines.fit(seen)
        if lines is None:
            return None
        misses = lines.misses
        rank = math.ceil((len(misses) + 1) * (1 - risk))
        if rank > len(misses):
            return None
        scale = np.abs(misses).mean(axis=0)
        scores = (misses / np.where(scale > 0, scale, 1.0)).max(axis=(1, 2), initial=0.0)
        return cls(lines, float(np.sort(scores)[rank - 1]) * scale)

    def best(self, path: Path) -> dict[str, float]:
        """A trial's metrics at its end, were it to gain all that the band allows."""
        values, widening = self.lines.at(path)
        values = values - self.lines.signs * self.room[len(path) - 1] * widening
        return {**path[-1], **dict(zip(self.lines.names, values.tolist(), strict=True))}
