"""Whether a network file still describes the task's model."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from evaluators.compression.submodules import WEIGHTED
from evaluators.process_state import eval_mode
from evaluators.task import Task
from hardware import Layer, Network

_COMPARED = ("in_shape", "out_shape", "kernel", "stride", "groups")
"""Fields of a layer that a model shows; bits and the like are a chromosome's."""


def looks_alike(task: Task, described: Network) -> bool:
    """Whether a pass of the example input meets the layers that the file describes.

    It spares the tracing of a model that is as it was: the weights and outputs of each layer that
    runs are counted. What it takes for another model has to be traced to say how it differs.

    Args:
        task: the model's.
        described: as the file says.
    """
    met: dict[str, list[int]] = {}
    names = {module: name for name, module in task.model.named_modules()}

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and isinstance(module.weight, Tensor):
            sizes = [module.weight.numel(), output[0].numel()]
            met.setdefault(names[module], [*sizes, *getattr(module, "kernel_size", ())])

    modules = [module for module in names if isinstance(module, WEIGHTED)]
    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        with eval_mode(task.model), torch.inference_mode():
            task.model(*task.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    expected: dict[str, list[int]] = {}
    for layer in _weighted(described.layers).values():
        sizes = [layer.out_channels * layer.row_weights, math.prod(layer.out_shape)]
        kernel = layer.kernel if layer.op != "linear" else ()
        expected.setdefault(layer.module, [*sizes, *kernel])
    return expected == met and described.metadata.get("metric_name") == task.metric_name


def differences(task: Task, found: Network, described: Network) -> list[str]:
    """How a model differs from its network file, each layer named.

    Args:
        task: the model's.
        found: the model as it is now, from ``evaluators.trace``.
        described: as it was when the file was written.

    Returns:
        Sentences without a full stop; none if both are the same.
    """
    now, then = _weighted(found.layers), _weighted(described.layers)
    said = []
    if gone := [name for name in then if name not in now]:
        said.append(f"the model has no layer {_listed(gone)} any more")
    if new := [name for name in now if name not in then]:
        said.append(f"the file does not know the layer {_listed(new)}")
    for name, layer in now.items():
        changed = [] if name not in then else list(_changes(then[name], layer))
        if changed:
            said.append(f"layer {name!r} has {', '.join(changed)}")
            break
    named = described.metadata.get("metric_name")
    if named is not None and named != task.metric_name:
        said.append(f"the task's metric is {task.metric_name!r}, in the file it is {named!r}")
    return said


def _weighted(layers: Iterable[Layer]) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers if layer.is_weighted}


def _changes(then: Layer, now: Layer) -> Iterable[str]:
    for field in _COMPARED:
        before, after = getattr(then, field), getattr(now, field)
        if before != after:
            yield f"{field} {_shown(after)}, in the file {_shown(before)}"


def _shown(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
