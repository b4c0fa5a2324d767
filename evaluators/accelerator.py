"""What the numbers are computed on: the one place that chooses between CPU, CUDA and MPS.

A task is on the CPU, model and data. What is trained elsewhere gets its batches moved as they are
read, and its outputs moved back before the task's metric sees them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evaluators.pytree import children, is_tensor, rebuilt, tensors

if TYPE_CHECKING:
    from evaluators.task import Task

CPU = torch.device("cpu")
AUTO = "auto"
ACCELERATORS = (AUTO, "cpu", "cuda", "mps")
"""What can be asked for."""


def accelerator_here() -> str:
    """``cuda`` or ``mps`` where there is one, else ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def chosen(name: str, what: str = "--accelerator") -> str:
    """Torch's device for a choice of :data:`ACCELERATORS`.

    Args:
        name: the choice.
        what: the option, for messages.

    Raises:
        ValueError: it is unknown, or there is none here.
    """
    if name not in ACCELERATORS:
        raise ValueError(f"{what} {name!r}: write one of {', '.join(ACCELERATORS)}")
    here = accelerator_here()
    if name == AUTO:
        return here
    if name not in ("cpu", here):
        raise ValueError(f"{what} {name}: PyTorch finds none here; write cpu or {AUTO}")
    return name


def for_trials(name: str) -> str:
    """Torch's device for the training of one candidate.

    MPS has no rounding per channel (``fake_quantize_per_channel_affine``), so trials run on the
    CPU there.

    Args:
        name: one of :data:`ACCELERATORS`.

    Raises:
        ValueError: as :func:`chosen`.
    """
    here = chosen(name)
    return "cpu" if here == "mps" else here


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are; the CPU if it has none."""
    first = next(model.parameters(), None)
    return CPU if first is None else first.device


class MovedBatches:
    """A loader's batches, each moved to a device as it is read."""

    def __init__(self, batches: Iterable[Any], device: torch.device) -> None:
        self.batches, self.device = batches, device

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]  # TypeError of a loader without length

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            yield moved(batch, self.device)


def task_on(task: Task, device: torch.device) -> Task:
    """The task with its training data, ``val`` and example input on a device; on the CPU itself."""
    if device.type == "cpu":
        return task
    found = copy.copy(task)
    found.train, found.val = (MovedBatches(x, device) for x in (task.train, task.val))
    found.example_input = moved(task.example_input, device)
    return found


def moved(value: object, device: torch.device) -> object:
    """A nested batch on a device; a value whose tensors are there already is returned as it is."""
    if all(not isinstance(x, Tensor) or x.device.type == device.type for x in tensors(value)):
        return value
    return _moved(value, device)


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device)
    parts = None if is_tensor(value) else children(value)
    return value if parts is None else rebuilt(value, [_moved(x, device) for _, x in parts])
