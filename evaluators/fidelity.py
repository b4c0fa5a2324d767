"""Tasks without labels: how near a compressed network's outputs are to the float model's.

What the float model gives takes the place of targets, so that such a task is scored, calibrated
and, if one likes, trained by the same code as any other.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evaluators.metrics.protocol import StreamingMetric
from evaluators.process_state import eval_mode
from evaluators.pytree import call, describe, tensors
from evaluators.scoring import DataError

_RESOLUTION = torch.finfo(torch.float32).eps
"""Errors below it are float32's own: a relative error of 0 counts as this in decibels."""


class FloatOutputs:
    """Batches whose targets are what the float model gives, computed as they are read.

    Args:
        model: the float model. It is left as it is.
        batches: inputs alone, or with labels behind them, which are left out.
        example: one batch of inputs, which says what of a batch is inputs.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Any], example: object) -> None:
        self.model, self.batches, self.example = model, batches, example

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]  # TypeError of a loader without length

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for batch in self.batches:
            inputs = inputs_of(batch, self.example)
            with eval_mode(self.model), torch.no_grad():
                outputs = call(self.model, inputs)
            yield inputs, outputs


def inputs_of(batch: Any, example: object) -> Any:
    """The inputs of a batch that may hold labels too, by the form of an example of inputs.

    Raises:
        DataError: a dict lacks a keyword of the example.
    """
    if isinstance(batch, Mapping) and isinstance(example, Mapping):
        if missing := [key for key in example if key not in batch]:
            raise DataError(
                f"a batch lacks {missing[0]!r}, which the task's example_input has (it holds "
                f"{', '.join(map(str, batch))})"
            )
        return {key: batch[key] for key in example}
    if not isinstance(batch, (tuple, list)) or not batch:
        return batch
    if isinstance(example, (tuple, list)):
        whole = len(batch) == len(example) and not isinstance(batch[0], (tuple, list))
        return tuple(batch) if whole else batch[0]
    return inputs_of(batch[0], example) if isinstance(example, Mapping) else batch[0]


class _Measure(ABC):
    """Sums over a split, for each tensor of the outputs; the mean over these is the figure."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []

    def reset(self) -> None:
        """Forgets what was taken."""
        self.sums = []

    def update(self, outputs: object, targets: object) -> None:
        """Takes a batch.

        Args:
            outputs: of the compressed network.
            targets: of the float model, nested alike.

        Raises:
            ValueError: their shapes differ, or none of them can be measured.
        """
        found, wanted = tensors(outputs), tensors(targets)
        if [x.shape for x in found] != [x.shape for x in wanted]:
            raise ValueError(
                f"the outputs are {describe(outputs)}, the float model's {describe(targets)}"
            )
        pairs = [(a, b) for a, b in zip(found, wanted, strict=True) if self.takes(b)]
        if not pairs:
            raise ValueError(f"none of the outputs {describe(targets)} {self.needs}")
        terms = [self.terms(a.detach().double(), b.detach().double()) for a, b in pairs]
        sums = self.sums or [torch.zeros_like(new) for new in terms]
        self.sums = [old + new for old, new in zip(sums, terms, strict=True)]

    def compute(self) -> float:
        """The figure for all batches so far."""
        return sum(map(self.figure, self.sums)) / len(self.sums)

    needs = "is a tensor of floats"

    def takes(self, wanted: Tensor) -> bool:
        """Whether one output can be measured."""
        return wanted.is_floating_point()

    def terms(self, found: Tensor, wanted: Tensor) -> Tensor:
        """(2,): what a batch adds to the sums of one output; here errors and signals, squared."""
        return torch.stack([(found - wanted).square().sum(), wanted.square().sum()])

    @abstractmethod
    def figure(self, sums: Tensor) -> float:
        """The figure of one output."""


class RelativeDistance(_Measure):
    """Root of the squared errors' sum over the squared float outputs' sum."""

    def figure(self, sums: Tensor) -> float:
        """From 0 up."""
        noise, signal = map(float, sums)
        return math.sqrt(noise / signal) if signal else float(noise > 0.0)


class SignalToNoise(RelativeDistance):
    """Signal-to-quantization-noise ratio in decibels, up to float32's own resolution."""

    def figure(self, sums: Tensor) -> float:
        """Up to 138.5 dB, for equal outputs."""
        return -20.0 * math.log10(max(super().figure(sums), _RESOLUTION))


class CosineSimilarity(_Measure):
    """Cosine between the outputs of each sample, flattened; the mean over the samples."""

    def terms(self, found: Tensor, wanted: Tensor) -> Tensor:
        """(2,): the sum of the cosines, and their number."""
        rows = len(found) if found.dim() else 1
        one, other = found.reshape(rows, -1), wanted.reshape(rows, -1)
        # Two outputs of nothing but zeros are alike.
        both = (one.norm(dim=1) == 0) & (other.norm(dim=1) == 0)
        cosines = torch.where(both, 1.0, nn.functional.cosine_similarity(one, other, dim=1, eps=0))
        return torch.stack([cosines.nan_to_num().sum(), torch.tensor(float(rows)).double()])

    def figure(self, sums: Tensor) -> float:
        """From -1 to 1."""
        return float(sums[0] / sums[1])


class Agreement(_Measure):
    """Share of predictions, by the largest score along the second axis, that stay the same."""

    needs = "has scores of classes (N, classes, ...)"

    def takes(self, wanted: Tensor) -> bool:
        """Whether one output has scores of several classes."""
        return wanted.is_floating_point() and wanted.dim() >= 2 and wanted.shape[1] > 1

    def terms(self, found: Tensor, wanted: Tensor) -> Tensor:
        """(2,): equal predictions, and all."""
        same = found.argmax(dim=1) == wanted.argmax(dim=1)
        return torch.tensor([float(same.sum()), float(same.numel())]).double()

    def figure(self, sums: Tensor) -> float:
        """From 0 to 1."""
        return float(sums[0] / sums[1])


MEASURES: Mapping[str, tuple[type[StreamingMetric], str]] = {
    "sqnr_db": (SignalToNoise, "max"),
    "cosine_similarity": (CosineSimilarity, "max"),
    "relative_error": (RelativeDistance, "min"),
    "agreement": (Agreement, "max"),
}
"""Names of metrics that need no labels, what they are, and whether they are to be large."""


def output_loss(outputs: object, targets: object) -> Tensor:
    """Squared error over the float outputs' mean square, meant over the outputs: scalar.

    Args:
        outputs: of the network in training.
        targets: of the float model, nested alike.
    """
    terms = [
        (found - wanted).square().mean() / wanted.square().mean().clamp(min=_RESOLUTION)
        for found, wanted in zip(tensors(outputs), tensors(targets), strict=True)
        if wanted.is_floating_point()
    ]
    return torch.stack(terms).mean()


class Unlabelled(NamedTuple):
    """What takes the place of labels, loss and metric in a task without them.

    Attributes:
        splits: ``train``, ``val`` and ``test`` with the float model's outputs as their targets.
        measure: the metric.
        loss: how far a batch's outputs are away.
        name: of the metric.
        mode: ``max`` or ``min``.
    """

    splits: tuple[FloatOutputs, FloatOutputs, FloatOutputs]
    measure: type[StreamingMetric]
    loss: Any
    name: str
    mode: str


def unlabelled(
    metric: str,
    model: nn.Module,
    example: object,
    splits: tuple[Iterable[Any], Iterable[Any], Iterable[Any] | None],
) -> Unlabelled:
    """Makes a task's parts from inputs alone.

    Args:
        metric: one of :data:`MEASURES`.
        model: the float model.
        example: one batch of inputs.
        splits: ``train``, ``val`` and ``test``; ``val`` stands in for a missing ``test``.

    Raises:
        ValueError: there is no such metric, or a split is a tensor.
    """
    if metric not in MEASURES:
        raise ValueError(
            f"metric={metric!r} is unknown: give a function of outputs and targets, or one of "
            f"{', '.join(MEASURES)}, which compare with the float model's outputs"
        )
    measure, mode = MEASURES[metric]
    train, val, test = splits

    def read(batches: Iterable[Any]) -> FloatOutputs:
        if isinstance(batches, FloatOutputs):
            return batches
        if isinstance(batches, Tensor):
            raise ValueError(
                f"a split is one tensor {tuple(batches.shape)}: give batches of it, as "
                "tensor.split(64) does"
            )
        return FloatOutputs(model, batches, example)

    made = (read(train), read(val), read(val if test is None else test))
    return Unlabelled(made, measure, output_loss, metric, mode)
