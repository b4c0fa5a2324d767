"""Peak RAM: the arena of a greedy memory planner, as TensorFlow Lite Micro plans it.

Tensors are placed largest first, each at the lowest offset that no tensor alive at the same time
occupies, on 16-byte boundaries (`greedy_memory_planner.cc` of tflite-micro). On the MLPerf Tiny
reference networks it gives the real arena head to the byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from hardware.ir.layer import CONV_OPS, FIXED, VIEW_OPS, Layer, Shape
from hardware.ir.shape_inference import input_shapes
from hardware.memory.weight_packing import tensor_bytes

ALIGNMENT = 16
_FUSABLE = frozenset({*(f + op for f in ("", FIXED) for op in (*CONV_OPS, "linear")), "add"})


Graph = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Name, operator and inputs of each layer, in order."""


class Buffer(NamedTuple):
    """A block of RAM alive from the step `first` to the step `last`, both included."""

    size: int
    first: int
    last: int


class Tensor(NamedTuple):
    """A tensor that needs RAM of its own: who writes it, who reads it, and when it is alive."""

    producer: int
    """Index of the layer, or -1 for an input of the network."""
    name: str
    readers: tuple[int, ...]
    first: int
    last: int
    is_output: bool


class Skeleton(NamedTuple):
    """What RAM depends on beside shapes and bits: equal for all candidates of a network."""

    fused: frozenset[str]
    tensors: tuple[Tensor, ...]


def skeleton(layers: Sequence[Layer]) -> Skeleton:
    """Returns fused activations and the lifetimes of all tensors."""
    return skeleton_of(graph_of(layers))


def graph_of(layers: Sequence[Layer]) -> Graph:
    """Returns name, operator and inputs of each layer."""
    return tuple((layer.name, layer.op, layer.inputs) for layer in layers)


def fused_activations(layers: Sequence[Layer]) -> frozenset[str]:
    """Activation layers that run inside the operator before them, free of time and RAM."""
    return skeleton(layers).fused


@lru_cache(maxsize=64)
def skeleton_of(graph: Graph) -> Skeleton:
    """As `skeleton`, of the name, operator and inputs of each layer."""
    uses = Counter(source for _, _, inputs in graph for source in inputs)
    ops = {name: op for name, op, _ in graph}
    fused = frozenset(
        name
        for name, op, inputs in graph
        if op == "activation" and uses[inputs[0]] == 1 and ops.get(inputs[0]) in _FUSABLE
    )
    inputs_of_network = dict.fromkeys(s for _, _, inputs in graph for s in inputs if s not in ops)
    root = {name: name for name in inputs_of_network}
    producer = dict.fromkeys(inputs_of_network, -1)
    first = dict.fromkeys(inputs_of_network, 0)
    last = dict.fromkeys(inputs_of_network, 0)
    readers: dict[str, list[int]] = {name: [] for name in inputs_of_network}
    for step, (name, op, inputs) in enumerate(graph):
        view = op in VIEW_OPS or name in fused
        for source in inputs:
            last[root[source]] = step
            if not view:
                readers[root[source]].append(step)
        if view:
            root[name] = root[inputs[0]]
        else:
            root[name], producer[name], readers[name] = name, step, []
            first[name] = last[name] = step
    outputs = {root[name] for name, _, _ in graph if not uses[name]}
    tensors = (
        Tensor(
            producer[name],
            name,
            tuple(readers[name]),
            first[name],
            len(graph) - 1 if name in outputs else last[name],
            name in outputs,
        )
        for name in producer
    )
    return Skeleton(fused, tuple(tensors))


def buffers(layers: Sequence[Layer], scratch: Sequence[int] = ()) -> list[Buffer]:
    """Returns the buffers of one inference.

    Args:
        layers: in execution order.
        scratch: bytes that each layer needs while it runs; none if empty.
    """
    tensors = skeleton(layers).tensors
    sizes = planned_sizes(tensors, tensor_shapes(layers), [layer.a_bits for layer in layers])
    found = [Buffer(size, t.first, t.last) for size, t in zip(sizes, tensors, strict=True)]
    return found + [Buffer(size, step, step) for step, size in enumerate(scratch) if size]


def planned_sizes(
    tensors: Sequence[Tensor], shapes: Sequence[Shape], bits: Sequence[int]
) -> list[int]:
    """Returns the bytes of each tensor, stored at the widest bits any of its readers takes it with.

    A network's output has 8 at least; views and fused activations share their input's buffer.

    Args:
        tensors: of the skeleton.
        shapes: of each.
        bits: of each layer's input activations, in the order of the layers.
    """
    found = []
    for tensor, shape in zip(tensors, shapes, strict=True):
        widest = max((bits[i] for i in tensor.readers), default=8)
        found.append(tensor_bytes(shape, max(widest, 8) if tensor.is_output else widest))
    return found


def tensor_shapes(layers: Sequence[Layer]) -> list[Shape]:
    """Returns the shape of each tensor that needs RAM of its own."""
    inputs: Mapping[str, Shape] = {}
    found = []
    for tensor in skeleton(layers).tensors:
        if tensor.producer < 0:
            inputs = inputs or input_shapes(layers)
        of = inputs[tensor.name] if tensor.producer < 0 else layers[tensor.producer].out_shape
        found.append(of)
    return found


def plan(blocks: Sequence[Buffer]) -> int:
    """Returns the bytes of the arena in which the greedy planner places the buffers."""
    planner = _planner(tuple((b.first, b.last) for b in blocks))
    return planner.place([b.size for b in blocks])[1]


def liveness_peak(blocks: Sequence[Buffer]) -> int:
    """Returns the largest sum of buffers alive at once: a bound that no plan can beat."""
    steps = max(b.last for b in blocks) + 1
    return max(sum(b.size for b in blocks if b.first <= s <= b.last) for s in range(steps))


class Planner:
    """The greedy planner, for buffers with fixed lifetimes.

    Args:
        spans: first and last step at which each buffer is alive, both included.
    """

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._near = [
            [j for j, (f, last) in enumerate(spans) if j != i and f <= end and last >= first]
            for i, (first, end) in enumerate(spans)
        ]

    def place(self, sizes: Sequence[int]) -> tuple[list[int], int]:
        """Places buffers of these sizes, in bytes.

        Returns:
            The offset of each buffer, and the bytes of the arena that holds them.
        """
        aligned = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
        # tflite-micro fills its list from the tail before a stable sort: of equals, the last is
        # first. `reverse` keeps the order of ties. What is empty takes no place.
        filled = [i for i in range(len(sizes) - 1, -1, -1) if aligned[i]]
        order = sorted(filled, key=aligned.__getitem__, reverse=True)
        taken: list[list[tuple[int, int]]] = [[] for _ in sizes]
        offsets = [0] * len(sizes)
        top = 0
        for i in order:
            size, offset = aligned[i], 0
            for start, end in sorted(taken[i]):
                if start >= offset + size:
                    break
                if end > offset:
                    offset = end
            offsets[i] = offset
            place = (offset, offset + size)
            for j in self._near[i]:
                taken[j].append(place)
            if place[1] > top:
                top = place[1]
        return offsets, top


@lru_cache(maxsize=64)
def _planner(spans: tuple[tuple[int, int], ...]) -> Planner:
    """All candidates of a network have the same lifetimes."""
    return Planner(spans)
