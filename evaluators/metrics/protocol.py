"""What a task's metric may be: a function of a whole split, or an object that takes batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class StreamingMetric(Protocol):
    """A metric that gathers batch by batch, as those of torchmetrics do."""

    def update(self, outputs: Any, targets: Any, /) -> object:
        """Takes a batch's outputs, as the model gives them, and targets, as the loader does."""

    def compute(self) -> Any:
        """The value of what was taken: a number, or a dict with one under the metric's name."""


Metric = Callable[[Any, Any], float] | StreamingMetric | type[StreamingMetric]
"""``metric(outputs, targets)`` on a whole split, or an object with ``update`` and ``compute``."""


def is_streaming(metric: object) -> bool:
    """Whether a metric takes batches one by one."""
    return all(callable(getattr(metric, name, None)) for name in ("update", "compute"))
