"""Training and evaluation loops, shared by baselines and trials."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.accelerator import CPU, moved
from evaluators.compression.submodules import BATCH_NORMS
from evaluators.process_state import eval_mode, process_as_found
from evaluators.progress import LINE_S
from evaluators.pytree import batch_size
from evaluators.pytree import call as call
from evaluators.recipe import RATE_SCHEDULES, Loss
from evaluators.scoring import DataError as DataError
from evaluators.scoring import SplitScore, joined_split
from evaluators.task import Batches, Task

LOG = logging.getLogger(__name__)


def predict(model: nn.Module, batches: Batches, what: str = "val") -> tuple[Any, Any]:
    """Outputs and targets of a whole split, in eval mode and without gradients.

    Both are nested as the model and the loader nest them, their tensors joined along the first
    axis.

    Raises:
        DataError: the split holds no batch, or batches can't be joined.
    """
    outputs, targets, sizes = [], [], []
    with eval_mode(model), torch.inference_mode():
        for inputs, target in batches:
            outputs.append(call(model, inputs))
            targets.append(target)
            sizes.append(batch_size(inputs))
    return joined_split(outputs, targets, sizes, what)


def score(task: Task, model: nn.Module, batches: Batches, what: str = "val") -> float:
    """The task's metric on a split.

    Raises:
        DataError: the split is empty, or the metric fails or is no finite number.
    """
    found = SplitScore(task.metric, task.metric_name, what)
    with eval_mode(model), torch.inference_mode():
        for inputs, target in batches:
            outputs = moved(call(model, inputs), CPU)
            found.update(inputs, outputs, moved(target, CPU))
    return found.value()


def train_epoch(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    *,
    follow: Callable[[Tensor, object, object], Tensor] | None = None,
    after_step: Iterable[Callable[[], None]] = (),
) -> float:
    """One pass over the training data; returns the mean loss of its batches.

    Args:
        model: trained in place, in train mode.
        batches: the training split.
        loss: the task's.
        optimizer: over the model's parameters.
        follow: ``follow(own loss, inputs, outputs)`` is minimized in place of the own loss, as
            ``distillation.Teacher.loss`` is.
        after_step: called in this order after each step: schedules, masks.

    Raises:
        DataError: there is no batch, or the loss is not finite.
    """
    model.train()
    total, count = 0.0, 0
    for inputs, target in batches:
        outputs = call(model, inputs)
        value = loss(outputs, target)
        if follow is not None:
            value = follow(value, inputs, outputs)
        number = float(value.detach())
        if not math.isfinite(number):
            raise DataError(f"the training loss became {number}: lower the task's learning_rate")
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimizer.step()
        for act in after_step:
            act()
        total, count = total + number, count + 1
    if count == 0:
        raise DataError("the task's 'train' split yields no batch: check its loader")
    return total / count


def annealing(
    kind: str, optimizer: torch.optim.Optimizer, steps: int, warmup: int = 0
) -> Callable[[], None]:
    """A schedule to call after each step: linear warm-up, then down to 1 % of the rate.

    Args:
        kind: ``cosine`` (a half wave), ``linear``, or ``constant``, which stays at the rate.
        optimizer: its groups' present rates are the peak.
        steps: of the whole training.
        warmup: steps of it that rise to the peak.

    Raises:
        ValueError: ``steps`` is below 1, or ``kind`` is unknown.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    if kind not in RATE_SCHEDULES:
        known = ", ".join(RATE_SCHEDULES)
        raise ValueError(f"rate_schedule={kind!r} is unknown (use {known})")
    rates = [float(g["lr"]) for g in optimizer.param_groups]
    done = 0

    def set_rates() -> None:
        if done < warmup:
            factor = (done + 1) / (warmup + 1)
        else:
            progress = min(1.0, (done - warmup) / max(1, steps - warmup))
            factor = 0.01 + 0.99 * _shape(kind, progress)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor

    def step() -> None:
        nonlocal done
        done += 1
        set_rates()

    set_rates()
    return step


def _shape(kind: str, progress: float) -> float:
    if kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0 - progress if kind == "linear" else 1.0


def length(batches: Batches) -> int:
    """Number of batches in a pass; counts them if the loader doesn't say."""
    try:
        return len(batches)  # type: ignore[arg-type]  # what is not sized raises TypeError
    except TypeError:
        return sum(1 for _ in batches)


@process_as_found()
def fit(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> None:
    """Trains a float model from its present weights, with AdamW and a cosine schedule.

    Seeds torch for itself, so that a baseline comes out the same wherever it is trained. Logs how
    far it is every ten seconds.
    """
    example = next(iter(batches), None)
    if example is not None:
        channels_last(model, example[0])
    torch.manual_seed(seed)
    steps = max(1, epochs * length(batches))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = annealing("cosine", optimizer, steps, warmup=min(steps // 10, 100))
    progress = _Progress(steps)
    for _ in range(epochs):
        train_epoch(model, batches, loss, optimizer, after_step=[schedule, progress])
    model.eval()


class _Progress:
    """Counts steps of a training and logs them now and then."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._began = self._told = time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told >= LINE_S:
            self._told = now
            # A warning, so that whoever waits sees it without setting up logging.
            LOG.warning(
                "training the float model: step %d of %d, %.0f s",
                *(self._done, self._steps, now - self._began),
            )


def channels_last(model: nn.Module, inputs: object) -> nn.Module:
    """Lays 2-D convolutions out channels-last: depthwise ones train 1.5 to 2 times faster on CPUs.

    Args:
        model: changed in place; what it computes stays the same.
        inputs: an example batch. A model that fails on it in this layout (``view`` of a feature map
            does) keeps the usual one.
    """
    if any(tensor.dim() == 5 for tensor in (*model.parameters(), *model.buffers())):
        return model  # torch has another layout for 3-D convolutions, and sets all tensors to one
    for module in model.modules():
        # torch 2.13 (oneDNN) writes out of bounds in the backward pass of a strided 1x1
        # convolution with 2 to 6 input channels in this layout; seen to corrupt the heap.
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        if pointwise and max(module.stride) > 1 and module.in_channels < 16:  # type: ignore[operator,arg-type]  # a Conv2d's
            return model
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub has no overload for it
    try:
        with eval_mode(model), torch.no_grad():
            call(model, inputs)
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub has no overload for it
    return model


def reestimate_batch_norm(model: nn.Module, batches: Batches, limit: int = 16) -> None:
    """Recomputes every batch norm's running statistics from up to ``limit`` training batches.

    Removed channels and rounded weights shift them; see arXiv:1902.08153 for how much that costs.
    """
    norms = [m for m in model.modules() if isinstance(m, BATCH_NORMS) and m.track_running_stats]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    with eval_mode(model), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
            norm.train()
        for index, (inputs, _) in enumerate(batches):
            if index >= limit:
                break
            call(model, inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest output is the target class."""
    return float((outputs.argmax(dim=1) == targets).float().mean())
