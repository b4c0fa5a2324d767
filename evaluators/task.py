"""The Task interface: what a user's model must bring so that it can be compressed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast

from evaluators.metrics.protocol import Metric
from evaluators.recipe import Loss, Recipe, RecipeFields
from hardware.ir.restrictions import Restrictions, Values

if TYPE_CHECKING:
    from torch import Tensor, nn

EARLY_END_REMOVED = (
    "is ignored, every fine-tuning runs all its epochs: ending clear ones early saved a tenth of "
    "the epochs and understated the scores of small networks; ParetoAssessor stops trials early"
)
"""What is said to who still asks for an early end, after the option's name."""

Batches = Iterable[tuple[Any, Any]]
"""``(inputs, targets)`` of each batch; several inputs come as a tuple or as a dict of keywords."""

T = TypeVar("T")


def no_loss(outputs: object, targets: object) -> Tensor:
    """Stands for the loss of a task that has none."""
    raise ValueError(
        "the task has no loss: give it loss=..., or let its trials calibrate only (epochs=0, and a "
        "pruner that needs no data)"
    )


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

    With the name of a measure of ``evaluators.fidelity`` as its metric a task needs no labels: it
    is scored by the distance to the float model's outputs. Its loaders may hold inputs alone, its
    loss is that distance, and its trials train for no epoch unless the recipe says otherwise.

    Attributes:
        model: the trained float model. Trials work on copies of it.
        train: batches ``(inputs, targets)``. Inputs are a tensor, a tuple of them or a dict of
            ``forward``'s keywords; targets are nested as one likes.
        val: what the search is scored on. Never trained on.
        test: read once, for the chosen candidates.
        example_input: one batch of inputs, in the form that the loaders give them, to trace with.
        loss: ``loss(outputs, targets) -> scalar tensor``; the outputs as the model gives them.
        metric: ``metric(outputs, targets) -> float`` on the outputs of a whole split, joined along
            the first axis; or an object with ``update(outputs, targets)`` and ``compute()``, which
            gets each batch as it is; or a name of ``evaluators.fidelity``.
        metric_name: its name in the trials' results.
        metric_mode: ``"max"`` if larger is better, else ``"min"``.
        name: for cache files and messages; set by :func:`evaluators.load_task` if empty.
        recipe: how a trial fine-tunes.
        baseline_metric: the float model's metric on ``val``, if known.
        training_seconds: what training the baseline took just now (0 if it was cached).
        keep: patterns of layers that stay whole, see ``hardware.ir.restrictions``.
        bits: bits allowed, by pattern of layers.
        ratios: prune ratios allowed, by pattern of layers.
    """

    model: nn.Module
    train: Batches
    val: Batches
    test: Batches
    example_input: Any
    loss: Loss
    metric: Metric
    metric_name: str
    metric_mode: str
    name: str
    recipe: Recipe
    baseline_metric: float | None
    training_seconds: float
    keep: Sequence[str]
    bits: Mapping[str, Values]
    ratios: Mapping[str, Values]

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

    # Long: a field of the task each, with its default and its documentation.
    def __init__(
        self,
        *,
        model: nn.Module,
        train: Iterable[Any],
        val: Iterable[Any],
        test: Iterable[Any] | None = None,
        example_input: Any,
        loss: Loss | None = None,
        metric: Metric | str,
        metric_name: str | None = None,
        metric_mode: str | None = None,
        name: str = "",
        recipe: Recipe | None = None,
        baseline_metric: float | None = None,
        training_seconds: float = 0.0,
        early_end: float | None = None,
        keep: Sequence[str] = (),
        bits: Mapping[str, Values] | None = None,
        ratios: Mapping[str, Values] | None = None,
        **fields: Unpack[RecipeFields],
    ) -> None:
        """Checks what can be checked without a look at model and data.

        Args:
            model: see the attributes, as for all that follow.
            train: batches.
            val: batches.
            test: batches; may be left out where the metric is a name, ``val`` takes its place.
            example_input: one batch of inputs.
            loss: of a batch; may be left out where nothing is trained.
            metric: of a split, or a name of ``evaluators.fidelity``.
            metric_name: without ``/`` and ``.``; ``accuracy``, or the metric's own name.
            metric_mode: ``max`` or ``min``; ``max``, or the named metric's own.
            name: of the task.
            recipe: all defaults if None.
            baseline_metric: if known.
            training_seconds: of the baseline.
            early_end: taken and ignored with a warning, so that tasks which gave it still build.
            keep: patterns of layers.
            bits: by pattern.
            ratios: by pattern.
            **fields: of the recipe, by their names.

        Raises:
            ValueError: ``metric_mode``, a name or a number is out of range, or ``test`` is missing.
            TypeError: a keyword is neither the task's nor the recipe's.
        """
        if early_end is not None:
            warnings.warn(f"early_end={early_end!r} {EARLY_END_REMOVED}", stacklevel=2)
        if unknown := set(fields) - set(RecipeFields.__annotations__):
            raise TypeError(
                f"Task() takes no {sorted(unknown)[0]}=: its own fields and those of "
                "evaluators.Recipe are known"
            )
        if isinstance(metric, str):
            from evaluators.fidelity import unlabelled

            data = unlabelled(metric, model, example_input, (train, val, test))
            train, val, test = data.splits
            metric, loss = data.measure, loss or data.loss
            metric_name, metric_mode = metric_name or data.name, metric_mode or data.mode
            if recipe is None:
                fields = {"epochs": 0, **fields}
        if test is None:
            raise ValueError("Task() needs test=...: batches that the search doesn't see")
        self.model, self.example_input = model, example_input
        self.train, self.val, self.test = train, val, test
        self.loss, self.metric = loss or no_loss, metric
        self.metric_name, self.metric_mode = metric_name or "accuracy", metric_mode or "max"
        _check_metric(metric_name, self.metric_name, self.metric_mode)
        self.name, self.recipe = name, replace(recipe or Recipe(), **fields)
        self.baseline_metric, self.training_seconds = baseline_metric, training_seconds
        self.keep, self.bits, self.ratios = keep, bits or {}, ratios or {}

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The example input as the tuple of positional arguments of the model.

        Raises:
            ValueError: it is a dict with a keyword that ``forward`` can't take by position.
        """
        from evaluators.pytree import positional

        return positional(self.model, self.example_input)

    @property
    def restrictions(self) -> Restrictions:
        """What the task says about single layers.

        Raises:
            ValueError: bits or ratios that there can't be.
        """
        return Restrictions(self.keep, self.bits, self.ratios)


def _check_metric(given: str | None, name: str, mode: str) -> None:
    if mode not in ("max", "min"):
        raise ValueError(f"metric_mode={mode!r} must be 'max' or 'min'")
    if given == "" or "/" in name or "." in name:
        raise ValueError(f"metric_name={given!r} must be a non-empty name without '/' or '.'")


def __getattr__(name: str) -> object:
    if name == "load_task":
        raise ImportError("evaluators.task.load_task is evaluators.load_task since version 0.2")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
