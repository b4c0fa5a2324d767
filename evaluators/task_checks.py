"""Looks at a task's data and loss before a trial spends time on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from evaluators.task import Batches, Task
from evaluators.tracing.fx_graph import eval_mode
from evaluators.training import DataError, call


def check_data(task: Task) -> None:
    """Reads the first batches of ``train`` and ``val``, and computes the loss of one.

    It costs one batch's forward pass and leaves torch's random state as it was.

    Raises:
        DataError: a split is empty, can be read only once, or yields something else than
            ``(inputs, targets)``; or the model or the loss fails on a training batch, or the
            loss is no finite scalar.
    """
    with torch.random.fork_rng(devices=[]):
        inputs, target = _first(task.train, "train")
        _first(task.val, "val")
        value = _loss(task, inputs, target)
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise DataError(f"the task's loss must be a scalar tensor, got {found}: take its mean")
    if not math.isfinite(float(value)):
        tensors = inputs if isinstance(inputs, (tuple, list)) else [inputs]
        clean = all(bool(torch.isfinite(x).all()) for x in tensors)
        hint = "" if clean else "; the inputs hold NaN or inf"
        raise DataError(f"the task's loss is {float(value)} on its first training batch{hint}")


def _first(batches: Batches, split: str) -> tuple[Any, Any]:
    if isinstance(batches, Iterator):
        raise DataError(
            f"the task's '{split}' split is a {type(batches).__name__}, which can be read only "
            "once: give a DataLoader, a list or evaluators.batches.ArrayBatches"
        )
    batch = next(iter(batches), None)
    if batch is None:
        raise DataError(f"the task's '{split}' split yields no batch: check its loader")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"the task's '{split}' split must yield (inputs, targets), with several inputs as a "
            f"tuple; its first batch is a {type(batch).__name__}"
            + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
        )
    return batch[0], batch[1]


def _loss(task: Task, inputs: Any, target: object) -> object:
    try:
        with eval_mode(task.model), torch.no_grad():
            outputs = call(task.model, inputs)
    # The task's own code may raise anything.
    except Exception as error:
        tensors = inputs if isinstance(inputs, (tuple, list)) else [inputs]
        shapes = ", ".join(str(tuple(getattr(x, "shape", ()))) for x in tensors)
        raise DataError(
            f"the task's model fails on its first training batch (inputs {shapes}) with "
            f"{type(error).__name__}: {error}"
        ) from error
    try:
        return task.loss(outputs, target)
    except Exception as error:  # as above
        raise DataError(
            f"the task's loss fails on its first training batch with {type(error).__name__}: "
            f"{error} (outputs have shape {tuple(getattr(outputs, 'shape', ()))}, targets "
            f"{tuple(getattr(target, 'shape', ()))})"
        ) from error
