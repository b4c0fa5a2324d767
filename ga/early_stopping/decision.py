"""The decision to stop a trial, from the policy that makes it to the log that keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class StopDecision:
    """A trial is stopped on its way.

    Attributes:
        metrics: its last report; never taken for its result.
        rung: number of its reports.
        reason: why it is stopped.
        expected: what its final metrics would probably have been; None if nothing says.
    """

    metrics: dict[str, float]
    rung: int
    reason: str
    expected: dict[str, float] | None = None

    def as_event(self) -> dict[str, object]:
        """The decision as a log keeps it, under the names of the attributes."""
        return asdict(self)
