"""The Task interface: what a user's model must bring so that it can be compressed."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.genes import PRUNERS

if TYPE_CHECKING:
    from torch import Tensor, nn

RELATIONS = ("distance", "similarity")
"""Relations between the samples of a batch that a compressed network can learn to keep."""

RATE_SCHEDULES = ("cosine", "linear", "constant")
"""How the learning rate falls in a trial's fine-tuning."""

SCHEDULES = ("direct", "progressive")
"""Ways from the float model to the pruned and quantized one."""

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
        early_end: A trial's fine-tuning ends before its last epoch once the result is clear, see
            ``early_end.Judge``: this is the share of the float metric that a network may lose
            and still be worth training. None: every epoch is run.
        pruner: What channels are chosen by: ``l1`` or ``l2`` (smallest norm goes), ``fpgm``
            (nearest to the geometric median goes), or by ten training batches: ``taylor`` (least
            effect on the loss goes), ``slim`` (a factor trained under a penalty on its size) or
            ``movement`` (a score trained in its place).
        baseline_metric: The float model's metric on ``val``, if known.
        training_seconds: What training the baseline took just now (0 if it was cached).

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
    early_end: float | None = None
    pruner: str = "l1"
    baseline_metric: float | None = None
    training_seconds: float = 0.0

    def __post_init__(self) -> None:
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
        if self.early_end is not None and not 0.0 < self.early_end <= 1.0:
            raise ValueError(f"early_end={self.early_end!r} must be in (0, 1], or None")
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


def load_task(path: str, data: str | None = None) -> Task:
    """Calls a task function named ``module:function``.

    The current folder is searched first, so a task may live beside the config that names it.

    Args:
        path: For example ``evaluators.tasks.digits:build``. Options follow a question mark, as
            in ``evaluators.tasks.cifar10:build?train_samples=5000&weights=train``; they are
            passed as keyword arguments, whole numbers as ``int``. ``remove_dead=1`` is for every
            task: :func:`evaluators.dead_channels.without_dead_channels`.
        data: Passed as ``data=`` if the function takes it.

    Raises:
        ValueError: The path has another form, the module or the function can't be found, the
            module or the function fails, the function doesn't take ``data`` or an option or needs
            another, or what comes back is no :class:`Task`.
        OSError: A file that the function reads, as it raised it.
    """
    address, _, query = path.partition("?")
    module_name, colon, function_name = address.partition(":")
    if not (module_name and colon and function_name):
        raise ValueError(f"task {path!r} must be 'module:function', as 'my_task:build'")
    build = _find(path, module_name, function_name)
    arguments = _options(path, query)
    remove_dead = arguments.pop("remove_dead", 0)
    if remove_dead not in (0, 1):
        raise ValueError(f"task {path!r}: remove_dead={remove_dead!r} must be 0 or 1")
    if data is not None:
        arguments["data"] = data
    accepted, anything = _accepted(build)
    for name, value in arguments.items():
        if not anything and name not in accepted:
            raise ValueError(
                f"task {path!r}: {function_name}() takes no {name}= (given: {value!r}; it takes: "
                f"{', '.join(sorted(accepted)) or 'nothing'})"
            )
    _check_required(path, build, arguments)
    try:
        task = build(**arguments)
    except (ValueError, OSError):
        raise  # the input's fault, said in the function's own words
    except Exception as error:
        raise ValueError(
            f"task {path!r}: {function_name}() fails with {type(error).__name__}: {error} "
            f"({_place(error)})"
        ) from error
    if not isinstance(task, Task):
        raise ValueError(
            f"task {path!r} returned {type(task).__name__}, not evaluators.Task: "
            "let the function end with `return Task(model=..., train=..., ...)`"
        )
    task.name = task.name or module_name.rpartition(".")[2]
    if remove_dead:
        from evaluators.dead_channels import without_dead_channels

        return without_dead_channels(task)
    return task


def _find(path: str, module_name: str, function_name: str) -> Callable[..., Any]:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"task {path!r}: module {module_name!r} does not import ({error}). It is looked for "
            f"in {here} and in the installed packages"
        ) from error
    except Exception as error:
        raise ValueError(
            f"task {path!r}: module {module_name!r} fails while it is imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    build = getattr(module, function_name, None)
    if not callable(build):
        names = sorted(n for n, v in vars(module).items() if inspect.isfunction(v) and n[0] != "_")
        raise ValueError(
            f"task {path!r}: module {module_name!r} has no function {function_name!r} "
            f"(functions there: {', '.join(names) or 'none'})"
        )
    return build  # type: ignore[no-any-return]  # found by name; it is callable


def _options(path: str, query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not (name.isidentifier() and equals):
            raise ValueError(f"task {path!r}: option {part!r} must be name=value")
        options[name] = int(value) if value.lstrip("-").isdecimal() else value
    return options


def _check_required(path: str, build: Callable[..., Any], arguments: dict[str, Any]) -> None:
    for p in inspect.signature(build).parameters.values():
        optional = p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        if p.name == "data" and not optional and "data" not in arguments:
            raise ValueError(f"task {path!r}: it needs its data: give --data PATH")
        if not optional and p.name not in arguments:
            name = path.partition("?")[0]
            raise ValueError(
                f"task {path!r}: it needs {p.name}=: give it a default, or write "
                f"'{name}?{p.name}=...'"
            )


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _accepted(build: Callable[..., Any]) -> tuple[set[str], bool]:
    """Names of the function's parameters, and whether it takes any name at all."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name for p in parameters}, any(p.kind is p.VAR_KEYWORD for p in parameters)
