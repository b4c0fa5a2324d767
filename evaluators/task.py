"""The Task interface: what a user's model must bring so that it can be compressed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Any

from hardware.ir.gene_kinds.pruner import PRUNERS

if TYPE_CHECKING:
    from torch import Tensor, nn

RELATIONS = ("distance", "similarity")
"""Relations between the samples of a batch that a compressed network can learn to keep."""

RATE_SCHEDULES = ("cosine", "linear", "constant")
"""How the learning rate falls in a trial's fine-tuning."""

SCHEDULES = ("direct", "progressive")
"""Ways from the float model to the pruned and quantized one."""

EARLY_END_REMOVED = (
    "is ignored, every fine-tuning runs all its epochs: ending clear ones early saved a tenth of "
    "the epochs and understated the scores of small networks; ParetoAssessor stops trials early"
)
"""What is said to who still asks for an early end, after the option's name."""

Batches = Iterable[tuple[Any, Any]]


@dataclass(kw_only=True)
class Task:
    """A trained model with its data, loss and metric.

    Attributes:
        model: The trained float model. Trials work on copies of it.
        train: Batches ``(inputs, targets)``; several inputs come as a tuple.
        val: What the search is scored on. Never trained on.
        test: Read once, for the chosen candidates.
        example_input: One batch of inputs (a tensor or a tuple of tensors) to trace with.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        metric: ``metric(outputs, targets) -> float`` on the outputs of a whole split.
        metric_name: Its name in the trials' results.
        metric_mode: ``"max"`` if larger is better, else ``"min"``.
        name: For cache files and messages; set by :func:`load_task` if empty.
        learning_rate: Of Adam in a trial's fine-tuning.
        pruned_learning_rate: The same once half of the prunable channels or more are gone; between
            none and half it grows geometrically. What lost channels has farther to go than what was
            only rounded. None: ``learning_rate`` for all.
        epochs: Fine-tuning epochs of a trial that isn't told a number.
        distillation: Weight in [0, 1] of following the float model in fine-tuning (0: none).
        distillation_loss: ``loss(outputs, float model's outputs) -> scalar tensor``; by default
            soft labels, for classifiers with outputs (N, classes).
        attention: Weight of keeping the float model's maps of where features are large, at each
            resolution (0: none). It needs no equal channel counts.
        relations: Weight of keeping the relations between a batch's samples, as they enter the
            last layer (0: none).
        relation: Which: ``distance`` or ``similarity``.
        rate_schedule: How the learning rate falls: ``cosine``, ``linear`` or ``constant``.
        schedule: ``direct`` prunes and quantizes at once, ``progressive`` prunes in two steps
            with float training after each, then quantizes; the epochs are shared out.
        pruner: What channels are chosen by: ``l1`` or ``l2`` (smallest norm goes), ``fpgm``
            (nearest to the geometric median goes), or by ten training batches: ``taylor`` (least
            effect on the loss goes), ``slim`` (a factor trained under a penalty on its size) or
            ``movement`` (a score trained in its place).
        baseline_metric: The float model's metric on ``val``, if known.
        training_seconds: What training the baseline took just now (0 if it was cached).
        early_end: Taken and ignored with a warning, so that tasks which gave it still build.

    Raises:
        ValueError: ``metric_mode`` or a number is out of range.
    """

    model: nn.Module
    train: Batches
    val: Batches
    test: Batches
    example_input: Tensor | tuple[Tensor, ...]
    loss: Callable[[Any, Any], Tensor]
    metric: Callable[[Any, Any], float]
    metric_name: str = "accuracy"
    metric_mode: str = "max"
    name: str = ""
    learning_rate: float = 1e-3
    pruned_learning_rate: float | None = None
    epochs: int = 1
    distillation: float = 0.0
    distillation_loss: Callable[[Any, Any], Tensor] | None = None
    attention: float = 0.0
    relations: float = 0.0
    relation: str = "distance"
    rate_schedule: str = "cosine"
    schedule: str = "direct"
    pruner: str = "l1"
    baseline_metric: float | None = None
    training_seconds: float = 0.0
    early_end: InitVar[float | None] = None

    def __post_init__(self, early_end: float | None) -> None:
        if early_end is not None:
            # A caller of __init__, which a dataclass generates, is three frames up.
            warnings.warn(f"early_end={early_end!r} {EARLY_END_REMOVED}", stacklevel=3)
        if self.metric_mode not in ("max", "min"):
            raise ValueError(f"metric_mode={self.metric_mode!r} must be 'max' or 'min'")
        if not self.metric_name or "/" in self.metric_name or "." in self.metric_name:
            raise ValueError(
                f"metric_name={self.metric_name!r} must be a non-empty name without '/' or '.'"
            )
        if not 0.0 <= self.distillation <= 1.0:
            raise ValueError(f"distillation={self.distillation!r} must be in [0, 1]")
        for name, known in (
            ("pruner", PRUNERS),
            ("relation", RELATIONS),
            ("rate_schedule", RATE_SCHEDULES),
            ("schedule", SCHEDULES),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name}={value!r} is unknown (use {', '.join(known)})")
        for name in ("attention", "relations"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"{name}={value!r} must be 0 or more")
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be above 0")
        if self.pruned_learning_rate is not None and not self.pruned_learning_rate > 0.0:
            raise ValueError(
                f"pruned_learning_rate={self.pruned_learning_rate!r} must be above 0, or None"
            )

    def fine_tuning_rate(self, removed: float) -> float:
        """The learning rate for a network that lost this fraction of its prunable channels."""
        if self.pruned_learning_rate is None:
            return self.learning_rate
        growth = self.pruned_learning_rate / self.learning_rate
        return float(self.learning_rate * growth ** min(2.0 * removed, 1.0))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The example input as the tuple of positional arguments of the model."""
        x = self.example_input
        return tuple(x) if isinstance(x, (tuple, list)) else (x,)
