"""What goes out of the optimizer and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from ga.problem.objectives import Metrics
from ga.problem.search_space import Params

Status = Literal["complete", "failed", "censored", "running"]
COMPLETE: Final = "complete"
FAILED: Final = "failed"
CENSORED: Final = "censored"
RUNNING: Final = "running"
STATUSES: tuple[Status, ...] = get_args(Status)

# Where a candidate comes from. Logs of earlier versions also have `ladder` and
# `greedy`, of a design that `knapsack` took the place of, and `imported`, for what is now
# `import`; an origin is read as any text.
INITIAL: Final = "initial"
CORNER: Final = "corner"
KNAPSACK: Final = "knapsack"
GREEDY: Final = "greedy"
LHS: Final = "lhs"
RANDOM: Final = "random"
GA: Final = "ga"
SURROGATE: Final = "surrogate"
# Of strategies of their own, see `ga.strategies.registry`; `gradient` names only a strategy.
GRADIENT: Final = "gradient"
NEIGHBOUR: Final = "neighbour"
REINFORCE: Final = "reinforce"
DE: Final = "de"
IMPORTED: Final = "import"
ORIGINS = (
    *(INITIAL, CORNER, KNAPSACK, LHS, RANDOM, GA, SURROGATE, IMPORTED, GREEDY),
    *(NEIGHBOUR, REINFORCE, DE),
)

#: Objective values of a result, smaller is better.
Losses = tuple[float, ...]


class SpaceExhausted(Exception):  # noqa: N818 - the name that NNI's NoMoreTrialError set
    """Every distinct candidate has been asked for (or breaks a hard limit)."""


class UnsatisfiableConstraint(ValueError):  # noqa: N818 - says what is wrong, like the above
    """No candidate keeps within a limit whose metric is known before a trial."""


@dataclass(frozen=True)
class Candidate:
    """A chromosome to evaluate.

    Attributes:
        id: its own number, never reused.
        params: what a trial gets.
        costs: the metrics known before the trial; None without a cost function.
        origin: how it came about, one of `ORIGINS`.
    """

    id: int
    params: Params
    costs: dict[str, float] | None = None
    origin: str = GA


@dataclass(frozen=True)
class Evaluation:
    """A candidate with its outcome.

    Attributes:
        id: the candidate's number.
        params: what the trial got.
        metrics: what it reported; for a censored one, the last intermediate result; else None.
        status: complete, failed, censored or running.
        origin: how the candidate came about.
        reason: why it failed or was stopped.
        expected: of a censored one, what its final metrics would probably have been; of a running
            one, that it was censored before and runs again.
        readings: of a complete one that was measured several times, each measurement; `metrics`
            are their means. Empty where there is one only.
        losses: of a complete one, its objectives; the archive fills them in, and `violation`.
        violation: how far it breaks the constraints; 0 if it is feasible.
    """

    id: int
    params: Params
    metrics: Metrics | None = None
    status: str = COMPLETE
    origin: str = IMPORTED
    reason: str = ""
    expected: dict[str, float] | None = None
    readings: tuple[Metrics, ...] = ()
    losses: Losses = field(default=(), kw_only=True, compare=False, repr=False)
    violation: float = field(default=0.0, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status={self.status!r} (allowed: {', '.join(STATUSES)})")
        if not isinstance(self.id, int) or isinstance(self.id, bool) or self.id < 0:
            raise ValueError(f"id={self.id!r} should be a whole number from 0 on")
        if self.status == COMPLETE and not isinstance(self.metrics, Mapping):
            raise ValueError(f"evaluation {self.id} is complete but has metrics={self.metrics!r}")

    @property
    def measurements(self) -> int:
        """How many times it was measured; 0 if it has no result."""
        return (len(self.readings) or 1) if self.status == COMPLETE else 0


@dataclass(frozen=True)
class Measurement:
    """A further result of a candidate that has one, e.g. of a training with another seed.

    Attributes:
        id: the candidate's number.
        metrics: what was measured.
    """

    id: int
    metrics: Metrics
