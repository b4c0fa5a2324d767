"""A task's metric on a split: over all outputs at once, or batch by batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evaluators.metrics.protocol import Metric, StreamingMetric, is_streaming
from evaluators.pytree import UnequalShapesError, batch_size, describe, joined, tensors


class DataError(ValueError):
    """A task's data, metric or loss can't be used; the message says which."""


class SplitScore:
    """The metric of one network on one split, in the making.

    Args:
        metric: the task's. A streaming one is copied, so that no score knows of another.
        name: of the metric, for messages and for the entry of a dict.
        split: its name for messages.
    """

    def __init__(self, metric: Metric, name: str, split: str) -> None:
        self.metric, self.name, self.split = metric, name, split
        self.says = f"the task's metric '{name}'"
        self.stream: StreamingMetric | None = None
        if is_streaming(metric):
            fresh: Any = metric
            self.stream = fresh() if isinstance(metric, type) else copy.deepcopy(fresh)
            if callable(reset := getattr(self.stream, "reset", None)):
                reset()
        self.outputs: list[object] = []
        self.targets: list[object] = []
        self.sizes: list[int] = []
        self.finite = True
        self.latest: tuple[object, object] = (None, None)

    def update(self, inputs: object, outputs: object, targets: object) -> None:
        """Takes a batch.

        Raises:
            DataError: the metric fails on it.
        """
        self.sizes.append(batch_size(inputs))
        self.latest = (outputs, targets)
        if self.stream is None:
            self.outputs.append(outputs)
            self.targets.append(targets)
            return
        self.finite = self.finite and _all_finite(outputs)
        try:
            self.stream.update(outputs, targets)
        # The user's own code may raise anything.
        except Exception as error:
            raise self._failure(error) from error

    def value(self) -> float:
        """The metric of all batches so far.

        Raises:
            DataError: there was no batch, the metric fails, or it is no finite number.
        """
        if not self.sizes:
            raise _empty(self.split)
        value = self._number(self._computed())
        if not math.isfinite(value):
            finite = self.finite and all(map(_all_finite, self.outputs))
            hint = "" if finite else "; the model's outputs hold NaN or inf"
            raise DataError(f"{self.says} is {value} on '{self.split}'{hint}")
        return value

    def _computed(self) -> object:
        if self.stream is None:
            self.latest = joined_split(self.outputs, self.targets, self.sizes, self.split)
        try:
            if self.stream is not None:
                return self.stream.compute()
            return self.metric(*self.latest)  # type: ignore[operator,call-arg]  # no streaming one
        # As above.
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> DataError:
        outputs, targets = (
            f"have shape {describe(x)}" if hasattr(x, "shape") else f"are {describe(x)}"
            for x in self.latest
        )
        return DataError(
            f"{self.says} fails on '{self.split}' with {type(error).__name__}: {error} "
            f"(outputs {outputs}, targets {targets.removeprefix('have shape ')})"
        )

    def _number(self, found: Any) -> float:
        if isinstance(found, Mapping):
            if self.name not in found:
                raise DataError(
                    f"{self.says} gives {', '.join(map(str, found))} on '{self.split}': let "
                    "metric_name be one of them"
                )
            found = found[self.name]
        if isinstance(found, (str, bytes)) or found is None:
            raise DataError(f"{self.says} is {found!r} on '{self.split}': let it return a number")
        try:
            return float(found)
        except (TypeError, ValueError, RuntimeError) as error:
            kind = type(found).__name__
            raise DataError(
                f"{self.says} is no number on '{self.split}' but a {kind}: {error}"
            ) from error


def joined_split(
    outputs: Sequence[object], targets: Sequence[object], sizes: Sequence[int], split: str
) -> tuple[Any, Any]:
    """Outputs and targets of a whole split.

    Args:
        outputs: of each batch.
        targets: of each batch.
        sizes: samples of each batch.
        split: its name for messages.

    Raises:
        DataError: there is no batch, or batches differ in shape behind the first axis.
    """
    if not sizes:
        raise _empty(split)
    found = []
    for what, batches in (("outputs", outputs), ("targets", targets)):
        try:
            found.append(joined(batches, sizes))
        except UnequalShapesError as error:
            raise DataError(
                f"the {what} on '{split}' can't be joined: {error}. Give a metric with "
                "update(outputs, targets) and compute(), which gets each batch as it is"
            ) from error
    return found[0], found[1]


def _empty(split: str) -> DataError:
    return DataError(f"the task's '{split}' split yields no batch: check its loader")


def _all_finite(outputs: object) -> bool:
    return all(bool(torch.isfinite(torch.as_tensor(x)).all()) for x in tensors(outputs))
