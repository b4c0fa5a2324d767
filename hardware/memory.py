"""Peak RAM: the arena of a greedy memory planner, as TensorFlow Lite Micro plans it.

Tensors are placed largest first, each at the lowest offset that no tensor alive at the same time
occupies, on 16-byte boundaries (`greedy_memory_planner.cc` of tflite-micro). On the MLPerf Tiny
reference networks it gives the real arena head to the byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .layer import Layer
from .packing import tensor_bytes
from .shapes import input_shapes

ALIGNMENT = 16
_VIEWS = frozenset({"reshape", "batchnorm"})
_FUSABLE = frozenset({"conv", "depthwise", "conv_transpose", "linear", "add"})


class Buffer(NamedTuple):
    """A block of RAM alive from the step `first` to the step `last`, both included."""

    size: int
    first: int
    last: int


def fused_activations(layers: Sequence[Layer]) -> frozenset[str]:
    """Activation layers that run inside the operator before them, free of time and RAM."""
    uses: dict[str, int] = {}
    for layer in layers:
        for source in layer.inputs:
            uses[source] = uses.get(source, 0) + 1
    ops = {layer.name: layer.op for layer in layers}
    return frozenset(
        layer.name
        for layer in layers
        if layer.op == "activation"
        and uses[layer.inputs[0]] == 1
        and ops.get(layer.inputs[0]) in _FUSABLE
    )


def buffers(layers: Sequence[Layer], scratch: Sequence[int] = ()) -> list[Buffer]:
    """Return the buffers of one inference.

    A tensor is stored at the widest bits any of its consumers reads it with (8 for a network
    output); views and fused activations share their input's buffer.

    Args:
        layers: In execution order.
        scratch: Bytes that each layer needs while it runs; none if empty.
    """
    fused = fused_activations(layers)
    root: dict[str, str] = {}
    shape = dict(input_shapes(layers))
    first = dict.fromkeys(shape, 0)
    last = dict.fromkeys(shape, 0)
    bits = dict.fromkeys(shape, 0)
    root.update((name, name) for name in shape)
    for step, layer in enumerate(layers):
        view = layer.op in _VIEWS or layer.name in fused
        for source in layer.inputs:
            tensor = root[source]
            last[tensor] = step
            if not view:
                bits[tensor] = max(bits[tensor], layer.a_bits)
        if view:
            root[layer.name] = root[layer.inputs[0]]
        else:
            root[layer.name] = layer.name
            shape[layer.name] = layer.out_shape
            first[layer.name] = last[layer.name] = step
            bits[layer.name] = 0
    used = {source for layer in layers for source in layer.inputs}
    for layer in layers:
        if layer.name not in used:
            last[root[layer.name]] = len(layers) - 1
            bits[root[layer.name]] = max(bits[root[layer.name]], 8)
    found = [Buffer(tensor_bytes(shape[t], bits[t] or 8), first[t], last[t]) for t in shape]
    found += [Buffer(size, step, step) for step, size in enumerate(scratch) if size]
    return found


def plan(blocks: Sequence[Buffer]) -> int:
    """Return the bytes of the arena in which the greedy planner places the buffers."""
    pending = [Buffer(-(-b.size // ALIGNMENT) * ALIGNMENT, b.first, b.last) for b in blocks]
    # tflite-micro fills its list from the tail before a stable sort: of equals, the last is first.
    pending.reverse()
    pending.sort(key=lambda b: -b.size)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    top = 0
    for size, first, last in pending:
        offset = 0
        for start, end, other_first, other_last in sorted(placed):
            if other_first > last or other_last < first:
                continue
            if start >= offset + size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, first, last))
        top = max(top, offset + size)
    return top


def liveness_peak(blocks: Sequence[Buffer]) -> int:
    """Return the largest sum of buffers alive at once: a bound that no plan can beat."""
    steps = max(b.last for b in blocks) + 1
    return max(sum(b.size for b in blocks if b.first <= s <= b.last) for s in range(steps))
