"""Where the integer network's activations lie in RAM."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.export.integer import IntegerNetwork
from evaluators.export.steps import Convolution
from hardware.memory.planner import Planner


@dataclass(frozen=True)
class Arena:
    """A static plan.

    Attributes:
        offsets: byte offset of every tensor, the network's input and output included.
        scratch: per step, the offset of a row of weights unpacked from fewer bits, a bitmap or
            codes.
        size: bytes of the arena: all RAM of one inference but the stack.
    """

    offsets: dict[str, int]
    scratch: dict[str, int]
    size: int


def plan(network: IntegerNetwork) -> Arena:
    """Places tensors by the planner that the search counts with.

    So a network whose activations all take a byte gets the arena of its ``ram_kb``. Where they
    differ: the output is wider here, activations below 8 bits take a whole byte, and kernels unpack
    a row of weights where others unfold patches.
    """
    sizes = {network.input.name: network.input.bytes}
    spans = {network.input.name: (0, 0)}
    for index, step in enumerate(network.steps):
        for tensor in (*step.inputs, step.output):
            sizes.setdefault(tensor.name, tensor.bytes)
            spans[tensor.name] = (spans.get(tensor.name, (index, index))[0], index)
    output = network.output.name
    spans[output] = (spans[output][0], max(len(network.steps) - 1, 0))
    rows = [
        (step.name, size, index)
        for index, step in enumerate(network.steps)
        if isinstance(step, Convolution) and (size := scratch_bytes(step))
    ]
    planner = Planner([*spans.values(), *((index, index) for _, _, index in rows)])
    places, size = planner.place([*(sizes[n] for n in spans), *(size for _, size, _ in rows)])
    offsets = dict(zip(spans, places, strict=False))
    scratch = {name: at for (name, *_), at in zip(rows, places[len(spans) :], strict=True)}
    return Arena(offsets, scratch, size)


def scratch_bytes(step: Convolution) -> int:
    """Bytes of the weights that a step unpacks at a time: a row, or a whole depthwise filter."""
    if step.reads_in_place:
        return 0
    return int(step.weight.size if step.is_depthwise else step.weight[0].size)
