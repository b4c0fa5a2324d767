"""What a trial's fine-tuning does: rates, epochs, distillation, pruner, schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from hardware.ir.gene_kinds.pruner import PRUNERS

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[[Any, Any], "Tensor"]
"""``loss(outputs, targets)``, a scalar; what a model puts out and learns from is its own."""

RELATIONS = ("distance", "similarity")
"""Relations between the samples of a batch that a compressed network can learn to keep."""

RATE_SCHEDULES = ("cosine", "linear", "constant")
"""How the learning rate falls in a trial's fine-tuning."""

SCHEDULES = ("direct", "progressive")
"""Ways from the float model to the pruned and quantized one."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a trial trains the network that it pruned and quantized.

    Attributes:
        learning_rate: of Adam.
        pruned_learning_rate: the same once half of the prunable channels or more are gone; between
            none and half it grows geometrically. What lost channels has farther to go than what was
            only rounded. None: ``learning_rate`` for all.
        epochs: of a trial that isn't told a number.
        distillation: weight in [0, 1] of following the float model (0: none).
        distillation_loss: ``loss(outputs, float model's outputs) -> scalar tensor``; by default
            soft labels, for classifiers with outputs (N, classes).
        attention: weight of keeping the float model's maps of where features are large, at each
            resolution (0: none). It needs no equal channel counts.
        relations: weight of keeping the relations between a batch's samples, as they enter the
            last layer (0: none).
        relation: which of them: ``distance`` or ``similarity``.
        rate_schedule: how the learning rate falls: ``cosine``, ``linear`` or ``constant``.
        schedule: ``direct`` prunes and quantizes at once, ``progressive`` prunes in two steps
            with float training after each, then quantizes; the epochs are shared out.
        pruner: what channels are chosen by: ``l1`` or ``l2`` (smallest norm goes), ``fpgm``
            (nearest to the geometric median goes), or by ten training batches: ``taylor`` (least
            effect on the loss goes), ``slim`` (a factor trained under a penalty on its size) or
            ``movement`` (a score trained in its place).

    Raises:
        ValueError: a number is out of range, or a name is unknown.
    """

    learning_rate: float = 1e-3
    pruned_learning_rate: float | None = None
    epochs: int = 1
    distillation: float = 0.0
    distillation_loss: Loss | None = None
    attention: float = 0.0
    relations: float = 0.0
    relation: str = "distance"
    rate_schedule: str = "cosine"
    schedule: str = "direct"
    pruner: str = "l1"

    def __post_init__(self) -> None:
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be above 0")
        if self.pruned_learning_rate is not None and not self.pruned_learning_rate > 0.0:
            raise ValueError(
                f"pruned_learning_rate={self.pruned_learning_rate!r} must be above 0, or None"
            )
        if self.epochs < 0:
            raise ValueError(f"epochs={self.epochs!r} must not be negative")
        if not 0.0 <= self.distillation <= 1.0:
            raise ValueError(f"distillation={self.distillation!r} must be in [0, 1]")
        for name in ("attention", "relations"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"{name}={value!r} must be 0 or more")
        for name, known in (
            ("pruner", PRUNERS),
            ("relation", RELATIONS),
            ("rate_schedule", RATE_SCHEDULES),
            ("schedule", SCHEDULES),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name}={value!r} is unknown (use {', '.join(known)})")

    def rate_after(self, removed: float) -> float:
        """The learning rate for a network that lost this fraction of its prunable channels."""
        if self.pruned_learning_rate is None:
            return self.learning_rate
        growth = self.pruned_learning_rate / self.learning_rate
        return float(self.learning_rate * growth ** min(2.0 * removed, 1.0))


class RecipeFields(TypedDict, total=False):
    """The fields of a :class:`Recipe` as keywords, for functions that pass them on."""

    learning_rate: float
    pruned_learning_rate: float | None
    epochs: int
    distillation: float
    distillation_loss: Loss | None
    attention: float
    relations: float
    relation: str
    rate_schedule: str
    schedule: str
    pruner: str
