"""The engine ``inprocess``: one trial after the other in this process, made for notebooks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from nni_plugin.engines.engine import Ended, Event, Final, Job
from nni_plugin.protocol.json_types import Metrics, Params
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.metrics import UID

__all__ = ["InProcessEngine"]


class InProcessEngine:
    """Evaluates when it is asked for events; nothing can stop a trial but an interrupt.

    Args:
        evaluate: from a chromosome to its final metrics. A ``ValueError`` or ``RuntimeError`` of
            its is the trial's failure.
    """

    name = "inprocess"

    def __init__(self, evaluate: Callable[[Params], Mapping[str, float]]) -> None:
        self._evaluate = evaluate
        self._queue: deque[Job] = deque()

    def start(self, job: Job) -> None:
        """Puts a trial into the queue."""
        self._queue.append(job)

    def limit(self, limits: Limits) -> None:
        """Nothing holds a trial of this process to limits."""

    def events(self, seconds: float) -> Sequence[Event]:
        """Runs the next trial to its end; ``seconds`` means nothing here."""
        if not self._queue:
            return []
        job = self._queue.popleft()
        genes = {name: allele for name, allele in job.params.items() if name != UID}
        try:
            metrics: Metrics = dict(self._evaluate(genes))
        except (ValueError, RuntimeError) as error:
            return [Ended(job.id, f"{type(error).__name__}: {error}")]
        broken = {name: x for name, x in metrics.items() if not math.isfinite(x)}
        if broken:
            return [Ended(job.id, f"the final metrics are not finite: {broken}")]
        return [Final(job.id, metrics), Ended(job.id)]

    def stop(self, job: str) -> None:
        """A trial that has begun has ended, too."""

    def final_result(self, uid: int) -> tuple[str, object] | None:
        """None: what a trial found goes with its process."""
        return None

    def close(self) -> None:
        """Forgets the queue."""
        self._queue.clear()
