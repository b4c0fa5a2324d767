"""What a policy decides, and what it may look at to decide it.

A rung is the number of a report, as in successive halving: each trial reports at rung 1, 2, ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.learning_curves import LearningCurve, Outlook
from ga.problem.objectives import Objectives

# A choice: later trials tell more of how long the next one takes, and a hundred are enough.
_RECENT = 100


@dataclass(frozen=True)
class SearchState:
    """What a policy may look at.

    Attributes:
        objectives: what is optimized.
        curves: what each trial reported so far, by number, in order of their first report.
        finals: final metrics of the trials that ran to their end, by number, in order of
            completion.
        front: metrics of the feasible, non-dominated results.
        elapsed: seconds from each trial's start to its reports, by number; none if not known.
        outlooks: what trials that are not at their ends are worth, by number; see
            `ga.Optimizer.outlooks`.
    """

    objectives: Objectives
    curves: Mapping[int, LearningCurve]
    finals: Mapping[int, Mapping[str, float]]
    front: Sequence[Mapping[str, float]]
    elapsed: Mapping[int, Sequence[float]] = field(default_factory=dict)
    outlooks: Callable[[Sequence[int]], Mapping[int, Outlook]] = lambda numbers: {}

    @property
    def whole_rungs(self) -> float:
        """Reports of a trial that runs to its end; infinite while none did."""
        lengths = [len(self.curves[number]) for number in self.finals if number in self.curves]
        return max(lengths, default=math.inf)

    def left(self, rung: int) -> float:
        """The share of a trial's cost that is still to come after a rung, from 0 to 1.

        By the mean times of whole trials; by the number of reports while there are none.

        Args:
            rung: reports so far.
        """
        timed = [self.elapsed[number] for number in self.finals if self.elapsed.get(number)]
        timed = [times for times in timed[-_RECENT:] if len(times) >= self.whole_rungs > 0]
        total = sum(times[-1] for times in timed)
        if total > 0:
            return 1.0 - sum(times[rung - 1] for times in timed) / total
        return max(0.0, 1.0 - rung / self.whole_rungs)


class Policy(Protocol):
    """Decides which running trials go on."""

    def decide(self, number: int, state: SearchState) -> StopDecision | None:
        """Why and with what a trial should be stopped after its latest report.

        Args:
            number: the trial's candidate.
            state: what is known; the trial has reported.

        Returns:
            None to let it run.
        """

    def reopen(self, stopped: Sequence[int], state: SearchState, *, new: bool) -> int | None:
        """Which of the stopped trials should run after all; None for none.

        Args:
            stopped: those that have not run again yet.
            state: what is known.
            new: whether a new candidate would have its slot instead.
        """
