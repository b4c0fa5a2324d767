"""Asynchronous runs on a simulated clock: thousands of trials in seconds, no sleeping.

How a trial goes is given in advance, from a table or a formula; the simulation keeps `slots` of
them running, hands results to the optimizer in the order in which they would come, and may stop
one early as an assessor would.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ga.evaluation import CENSORED, COMPLETE, FAILED, Candidate, SpaceExhausted
from ga.problem.search_space import Params


class AskTell(Protocol):
    """What the simulation and the contract tests need of an optimizer."""

    def ask(self) -> Candidate:
        """The next candidate; raises SpaceExhausted."""

    def tell(self, number: int, metrics: Mapping[str, object], /) -> None:
        """A final result."""

    def fail(self, number: int, reason: str = "", /) -> None:
        """No result."""

    def censor(self, number: int, metrics: Mapping[str, object], /) -> None:
        """Stopped early."""


@dataclass(frozen=True)
class TrialScript:
    """How a trial goes.

    Attributes:
        results: `(seconds since the last one, metrics)`; the last one is final.
        crashes: the trial ends without a final result after all but the last.
    """

    results: Sequence[tuple[float, Mapping[str, float]]]
    crashes: bool = False

    def __post_init__(self) -> None:
        if not self.results or any(seconds < 0 for seconds, _ in self.results):
            raise ValueError(f"a trial needs results with seconds from 0 on, got {self.results!r}")


@dataclass(frozen=True)
class SimulatedTrial:
    """A finished trial.

    Attributes:
        time: seconds since the start of the simulation.
        id: the candidate's number.
        params: what it was.
        status: complete, failed or censored.
        metrics: the last reported ones.
        steps: number of results that were reported; what a trial costs in epochs.
    """

    time: float
    id: int
    params: Params
    status: str
    metrics: Mapping[str, object]
    steps: int


Stop = Callable[[Candidate, int, Mapping[str, float]], bool]

# Names of earlier versions.
_RENAMED: dict[str, type] = {"Course": TrialScript, "Outcome": SimulatedTrial}


def __getattr__(name: str) -> type:
    if name in _RENAMED:
        return _RENAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass
class Simulation:
    """Runs an optimizer against trials that go as they are told.

    Args:
        optimizer: asked whenever a slot is free.
        course: params -> how that trial goes.
        slots: number of trials that run side by side.
        stop: whether to stop a trial after its intermediate result number `step` (from 0 on).
        stopped: tells the optimizer of a stopped trial and its last result; its `censor` if None.
        again: a stopped candidate that is to run before a new one; None for none.

    Attributes:
        clock: simulated seconds.
        outcomes: finished trials in order.
        exhausted: whether the optimizer had no candidate left.
    """

    optimizer: AskTell
    course: Callable[[Params], TrialScript]
    slots: int = 4
    stop: Stop | None = None
    stopped: Callable[[Candidate, Mapping[str, float]], None] | None = None
    again: Callable[[], Candidate | None] | None = None
    clock: float = 0.0
    outcomes: list[SimulatedTrial] = field(default_factory=list)
    exhausted: bool = False
    _events: list[tuple[float, int, int]] = field(default_factory=list)
    _running: dict[int, tuple[Candidate, TrialScript]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots={self.slots} should be from 1 on")

    def run(
        self, trials: int, until: Callable[[Sequence[SimulatedTrial]], bool] | None = None
    ) -> list[SimulatedTrial]:
        """Go on until this many trials are finished in all, or the space is exhausted.

        Args:
            trials: their number.
            until: ends the run earlier; asked with the finished trials after every result.
        """
        started = len(self.outcomes) + len(self._running)
        while len(self.outcomes) < trials and not (until is not None and until(self.outcomes)):
            while len(self._running) < self.slots and started < trials and not self.exhausted:
                started += self._start()
            if not self._events:
                break
            self._next_event()
        return self.outcomes

    def _start(self) -> bool:
        try:
            candidate = (self.again() if self.again else None) or self.optimizer.ask()
        except SpaceExhausted:
            self.exhausted = True
            return False
        course = self.course(candidate.params)
        self._running[candidate.id] = candidate, course
        heapq.heappush(self._events, (self.clock + course.results[0][0], candidate.id, 0))
        return True

    def _next_event(self) -> None:
        self.clock, number, step = heapq.heappop(self._events)
        candidate, course = self._running[number]
        metrics = course.results[step][1]
        if step == len(course.results) - 1:
            if course.crashes:
                self.optimizer.fail(number, "crashed")
                self._finish(candidate, FAILED, metrics, step + 1)
            else:
                self.optimizer.tell(number, metrics)
                self._finish(candidate, COMPLETE, metrics, step + 1)
        elif self.stop is not None and self.stop(candidate, step, metrics):
            if self.stopped is None:
                self.optimizer.censor(number, metrics)
            else:
                self.stopped(candidate, metrics)
            self._finish(candidate, CENSORED, metrics, step + 1)
        else:
            due = self.clock + course.results[step + 1][0]
            heapq.heappush(self._events, (due, number, step + 1))

    def _finish(
        self, candidate: Candidate, status: str, metrics: Mapping[str, object], steps: int
    ) -> None:
        del self._running[candidate.id]
        self.outcomes.append(
            SimulatedTrial(self.clock, candidate.id, candidate.params, status, metrics, steps)
        )
