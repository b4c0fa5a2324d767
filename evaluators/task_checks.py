"""Looks at a task's data and loss before a trial spends time on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from evaluators.fidelity import FloatOutputs
from evaluators.fine_tuning.distillation import default_distillation_loss
from evaluators.process_state import eval_mode
from evaluators.pytree import call, describe, tensors
from evaluators.scoring import DataError
from evaluators.task import Batches, Task, no_loss


def check_data(task: Task) -> None:
    """Reads the first batches of ``train`` and ``val``, and computes the loss of one.

    It costs one batch's forward pass and leaves torch's random state as it was.

    Raises:
        DataError: a split is empty, can be read only once, or yields something else than
            ``(inputs, targets)``; the model, the loss or the loss of distillation fails on a
            training batch, or is no finite scalar; or the outputs hold no tensor.
    """
    with torch.random.fork_rng(devices=[]):
        inputs, target = first_batch(task.train, "train")
        first_batch(task.val, "val")
        outputs = _outputs(task, inputs)
        if task.loss is not no_loss:
            _check_loss("loss", _computed("loss", task.loss, outputs, target), inputs)
        if task.recipe.distillation:
            follow = task.recipe.distillation_loss or default_distillation_loss(outputs)
            value = _computed("distillation_loss", follow, outputs, outputs)
            _check_loss("distillation_loss", value, inputs)


def _check_loss(name: str, value: object, inputs: object) -> None:
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise DataError(f"the task's {name} must be a scalar tensor, got {found}: take its mean")
    if not math.isfinite(float(value)):
        clean = all(bool(torch.isfinite(torch.as_tensor(x)).all()) for x in tensors(inputs))
        hint = "" if clean else "; the inputs hold NaN or inf"
        raise DataError(f"the task's {name} is {float(value)} on its first training batch{hint}")


def first_batch(batches: Batches, split: str) -> tuple[Any, Any]:
    """The first ``(inputs, targets)`` of a split.

    Raises:
        DataError: it can be read only once, is empty, or yields something else.
    """
    source = batches.batches if isinstance(batches, FloatOutputs) else batches
    if isinstance(source, Iterator):
        raise DataError(
            f"the task's '{split}' split is a {type(source).__name__}, which can be read only "
            "once: give a DataLoader, a list or evaluators.batches.ArrayBatches"
        )
    batch = next(iter(batches), None)
    if batch is None:
        raise DataError(f"the task's '{split}' split yields no batch: check its loader")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"the task's '{split}' split must yield (inputs, targets), with several inputs as a "
            f"tuple or a dict; its first batch is a {type(batch).__name__}"
            + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
        )
    return batch[0], batch[1]


def _outputs(task: Task, inputs: object) -> Any:
    try:
        with eval_mode(task.model), torch.no_grad():
            outputs = call(task.model, inputs)
    # The task's own code may raise anything.
    except Exception as error:
        shapes = describe(inputs).removeprefix("tuple")
        raise DataError(
            f"the task's model fails on its first training batch (inputs {shapes}) with "
            f"{type(error).__name__}: {error}"
        ) from error
    if not tensors(outputs):
        raise DataError(
            f"the task's model gives {describe(outputs)}, which holds no tensor: let it return a "
            "tensor, or a tuple, list, dict or dataclass of tensors"
        )
    return outputs


def _computed(name: str, loss: Any, outputs: object, target: object) -> object:
    try:
        return loss(outputs, target)
    except DataError:
        raise
    except Exception as error:  # as above
        given = "have shape" if isinstance(outputs, Tensor) else "are"
        raise DataError(
            f"the task's {name} fails on its first training batch with {type(error).__name__}: "
            f"{error} (outputs {given} {describe(outputs)}, targets {describe(target)})"
        ) from error
