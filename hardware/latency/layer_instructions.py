"""Instructions of a network's layers, one by one and by class of layer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from hardware.ir.layer import GATES, Layer
from hardware.latency.instruction_counts import instructions
from hardware.latency.kernel_calls import jobs
from hardware.memory.planner import fused_activations
from hardware.versions import LATEST

CLASSES = ("conv", "pointwise", "depthwise", "linear", "other")


Array = NDArray[np.float64]


def layer_class(layer: Layer) -> str:
    """Which of `CLASSES` a layer belongs to."""
    kind = layer.kind
    if kind in ("conv", "conv_transpose"):
        return "pointwise" if all(k == 1 for k in layer.kernel) else "conv"
    if kind in ("depthwise", "linear"):
        return kind
    if kind in GATES:
        return "linear"
    return "pointwise" if kind == "matmul" else "other"


def layer_instructions(layers: Sequence[Layer], core: str, version: int = LATEST) -> list[float]:
    """Instructions of each layer on a core; 0 for a view and for a fused activation.

    `version` is that of the counts, see `hardware.versions`.

    Raises:
        ValueError: an operator without a kernel.
    """
    fused = fused_activations(layers)
    return [0.0 if layer.name in fused else counted(layer, core, version) for layer in layers]


_COUNTED: dict[Hashable, float] = {}
_COUNTED_MAX = 200_000
"""Shapes that are remembered before all are forgotten: a choice."""


def counted(layer: Layer, core: str, version: int = LATEST) -> float:
    """Instructions of a layer; remembered, since a search meets the same shapes all the time."""
    key = (
        version, core, layer.op, layer.in_shape, layer.out_shape, layer.kernel, layer.stride,
        layer.padding, layer.groups, len(layer.inputs), layer.w_bits, layer.a_bits,
        layer.w_scheme, layer.zeros,
    )  # fmt: skip
    found = _COUNTED.get(key)
    if found is None:
        if len(_COUNTED) >= _COUNTED_MAX:
            _COUNTED.clear()
        found = sum(times * instructions(job, core, version) for job, times in jobs(layer, version))
        _COUNTED[key] = found
    return found


def class_instructions(layers: Sequence[Layer], core: str, version: int = LATEST) -> Array:
    """Instructions of a network by class, in the order of `CLASSES`."""
    totals = np.zeros(len(CLASSES))
    for layer, n in zip(layers, layer_instructions(layers, core, version), strict=True):
        totals[CLASSES.index(layer_class(layer))] += n
    return totals
