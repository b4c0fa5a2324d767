"""Where the integer network's activations lie in RAM."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.export.integer import IntegerNetwork
from evaluators.export.steps import Convolution

ALIGNMENT = 16


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
    """Place tensors largest first, each at the lowest offset free while it lives.

    The same rule as `hardware.memory.planner`, so a network whose activations all take a byte
    gets the arena that the search has counted. Where they differ: the output is wider here,
    activations below 8 bits take a whole byte, and kernels unpack a row of weights where others
    unfold patches.
    """
    life: dict[str, list[int]] = {network.input.name: [0, 0]}
    sizes = {network.input.name: network.input.bytes}
    rows: dict[str, str] = {}
    for index, step in enumerate(network.steps):
        for tensor in (*step.inputs, step.output):
            sizes.setdefault(tensor.name, tensor.bytes)
            life.setdefault(tensor.name, [index, index])[1] = index
    life[network.output.name][1] = max(len(network.steps) - 1, 0)
    for index, step in enumerate(network.steps):
        if isinstance(step, Convolution) and (size := scratch_bytes(step)):
            # A space: no tensor is called so.
            rows[step.name] = f"{step.name} scratch"
            sizes[rows[step.name]], life[rows[step.name]] = size, [index, index]
    padded = {name: -(-size // ALIGNMENT) * ALIGNMENT for name, size in sizes.items()}
    # tflite-micro fills its list from the tail before a stable sort: of equals, the last is first.
    order = list(padded)[::-1]
    order.sort(key=lambda n: -padded[n])
    offsets: dict[str, int] = {}
    for name in order:
        offset = 0
        for other in sorted(offsets, key=lambda n: offsets[n]):
            if life[other][0] > life[name][1] or life[name][0] > life[other][1]:
                continue
            if offsets[other] >= offset + padded[name]:
                break
            offset = max(offset, offsets[other] + padded[other])
        offsets[name] = offset
    scratch = {step: offsets.pop(name) for step, name in rows.items()}
    size = max((o + padded[n] for n, o in offsets.items()), default=0)
    size = max([size, *(o + padded[rows[s]] for s, o in scratch.items())])
    return Arena(offsets, scratch, size)


def scratch_bytes(step: Convolution) -> int:
    """Bytes of the weights that a step unpacks at a time: a row, or a whole depthwise filter."""
    if step.reads_in_place:
        return 0
    return int(step.weight.size if step.is_depthwise else step.weight[0].size)
