"""The Task interface: what a user's model must bring so that it can be compressed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast

from evaluators.recipe import Loss, Recipe, RecipeFields

if TYPE_CHECKING:
    from torch import Tensor, nn

EARLY_END_REMOVED = (
    "is ignored, every fine-tuning runs all its epochs: ending clear ones early saved a tenth of "
    "the epochs and understated the scores of small networks; ParetoAssessor stops trials early"
)
"""What is said to who still asks for an early end, after the option's name."""

Batches = Iterable[tuple[Any, Any]]
"""``(inputs, targets)`` of each batch; several inputs come as a tuple."""

Metric = Callable[[Any, Any], float]
"""``metric(outputs, targets)`` on the outputs of a whole split."""

T = TypeVar("T")


class _OfRecipe(Generic[T]):
    """A field of the task's recipe under the same name in the task."""

    def __set_name__(self, owner: type[Task], name: str) -> None:
        self.name = name

    def __get__(self, task: Task | None, owner: type[Task]) -> T:
        if task is None:
            raise AttributeError(f"{self.name} is a field of a task, not of the class")
        return cast(T, getattr(task.recipe, self.name))

    def __set__(self, task: Task, value: T) -> None:
        task.recipe = replace(task.recipe, **cast(RecipeFields, {self.name: value}))


@dataclass(kw_only=True, init=False)
class Task:
    """A trained model with its data, loss and metric, and the recipe of a trial's fine-tuning.

    The fields of the recipe are taken as keywords, read and set in the task, too:
    ``Task(..., epochs=2)`` is short for ``Task(..., recipe=Recipe(epochs=2))``. Both ways stay.
    Where both are given, the keyword changes that field of the recipe.

    Attributes:
        model: the trained float model. Trials work on copies of it.
        train: batches ``(inputs, targets)``; several inputs come as a tuple.
        val: what the search is scored on. Never trained on.
        test: read once, for the chosen candidates.
        example_input: one batch of inputs (a tensor or a tuple of tensors) to trace with.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        metric: ``metric(outputs, targets) -> float`` on the outputs of a whole split.
        metric_name: its name in the trials' results.
        metric_mode: ``"max"`` if larger is better, else ``"min"``.
        name: for cache files and messages; set by :func:`evaluators.load_task` if empty.
        recipe: how a trial fine-tunes.
        baseline_metric: the float model's metric on ``val``, if known.
        training_seconds: what training the baseline took just now (0 if it was cached).
    """

    model: nn.Module
    train: Batches
    val: Batches
    test: Batches
    example_input: Tensor | tuple[Tensor, ...]
    loss: Loss
    metric: Metric
    metric_name: str
    metric_mode: str
    name: str
    recipe: Recipe
    baseline_metric: float | None
    training_seconds: float

    learning_rate = _OfRecipe[float]()
    pruned_learning_rate = _OfRecipe[float | None]()
    epochs = _OfRecipe[int]()
    distillation = _OfRecipe[float]()
    distillation_loss = _OfRecipe[Loss | None]()
    attention = _OfRecipe[float]()
    relations = _OfRecipe[float]()
    relation = _OfRecipe[str]()
    rate_schedule = _OfRecipe[str]()
    schedule = _OfRecipe[str]()
    pruner = _OfRecipe[str]()

    def __init__(
        self,
        *,
        model: nn.Module,
        train: Batches,
        val: Batches,
        test: Batches,
        example_input: Tensor | tuple[Tensor, ...],
        loss: Loss,
        metric: Metric,
        metric_name: str = "accuracy",
        metric_mode: str = "max",
        name: str = "",
        recipe: Recipe | None = None,
        baseline_metric: float | None = None,
        training_seconds: float = 0.0,
        early_end: float | None = None,
        **fields: Unpack[RecipeFields],
    ) -> None:
        """Checks what can be checked without a look at model and data.

        Args:
            model: see the attributes, as for all that follow.
            train: batches.
            val: batches.
            test: batches.
            example_input: one batch of inputs.
            loss: of a batch.
            metric: of a split.
            metric_name: without ``/`` and ``.``.
            metric_mode: ``max`` or ``min``.
            name: of the task.
            recipe: all defaults if None.
            baseline_metric: if known.
            training_seconds: of the baseline.
            early_end: taken and ignored with a warning, so that tasks which gave it still build.
            **fields: of the recipe, by their names.

        Raises:
            ValueError: ``metric_mode``, a name or a number is out of range.
            TypeError: a keyword is neither the task's nor the recipe's.
        """
        if early_end is not None:
            warnings.warn(f"early_end={early_end!r} {EARLY_END_REMOVED}", stacklevel=2)
        _check_metric(metric_name, metric_mode)
        if unknown := set(fields) - set(RecipeFields.__annotations__):
            raise TypeError(
                f"Task() takes no {sorted(unknown)[0]}=: its own fields and those of "
                "evaluators.Recipe are known"
            )
        self.model, self.example_input = model, example_input
        self.train, self.val, self.test = train, val, test
        self.loss, self.metric = loss, metric
        self.metric_name, self.metric_mode, self.name = metric_name, metric_mode, name
        self.recipe = replace(recipe or Recipe(), **fields)
        self.baseline_metric, self.training_seconds = baseline_metric, training_seconds

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The example input as the tuple of positional arguments of the model."""
        x = self.example_input
        return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _check_metric(name: str, mode: str) -> None:
    if mode not in ("max", "min"):
        raise ValueError(f"metric_mode={mode!r} must be 'max' or 'min'")
    if not name or "/" in name or "." in name:
        raise ValueError(f"metric_name={name!r} must be a non-empty name without '/' or '.'")


def __getattr__(name: str) -> object:
    if name == "load_task":
        raise ImportError("evaluators.task.load_task is evaluators.load_task since version 0.2")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
