"""Where the integer network's activations lie in RAM."""

from __future__ import annotations

from dataclasses import dataclass

from .integer import IntegerNetwork
from .steps import Convolution, Tensor

ALIGNMENT = 8


@dataclass(frozen=True)
class Arena:
    """A static plan.

    Attributes:
        offsets: byte offset in the arena of every tensor but the network's input and output, which
            the caller owns.
        size: bytes of the arena.
        scratch: bytes for a row of weights unpacked from 2 or 4 bits.
        input: bytes of the caller's input.
        output: bytes of the caller's output.
    """

    offsets: dict[str, int]
    size: int
    scratch: int
    input: int
    output: int

    @property
    def total(self) -> int:
        """All RAM of one inference but the stack."""
        return self.size + self.scratch + self.input + self.output


def plan(network: IntegerNetwork) -> Arena:
    """Place tensors largest first, each at the lowest offset free while it lives.

    The same greedy rule as tflite-micro's planner.
    """
    own = {network.input.name, network.output.name}
    tensors: dict[str, Tensor] = {}
    life: dict[str, tuple[int, int]] = {}
    for index, step in enumerate(network.steps):
        for tensor in (step.output, *step.inputs):
            if tensor.name in own:
                continue
            tensors.setdefault(tensor.name, tensor)
            first = life.get(tensor.name, (index, index))[0]
            life[tensor.name] = (first, index)
    offsets: dict[str, int] = {}
    ends: dict[str, int] = {}
    for name in sorted(tensors, key=lambda n: -tensors[n].bytes):
        offset = 0
        for other in sorted(offsets, key=lambda n: offsets[n]):
            together = life[other][0] <= life[name][1] and life[name][0] <= life[other][1]
            if together and offsets[other] < offset + tensors[name].bytes:
                offset = max(offset, -(-ends[other] // ALIGNMENT) * ALIGNMENT)
        offsets[name], ends[name] = offset, offset + tensors[name].bytes
    scratch = max((_scratch(s) for s in network.steps if isinstance(s, Convolution)), default=0)
    size = max(ends.values(), default=0)
    return Arena(offsets, size, scratch, network.input.bytes, network.output.bytes)


def _scratch(step: Convolution) -> int:
    if step.bits == 8:
        return 0
    return int(step.weight.size if step.is_depthwise else step.weight[0].size)
