"""Where the integer network's activations lie in RAM."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.recurrent import Recurrent
from evaluators.export.steps import Convolution, Step, margins
from hardware.memory.kernel_scratch import convolution_scratch, depthwise_scratch
from hardware.memory.planner import Planner


@dataclass(frozen=True)
class Arena:
    """A static plan.

    Attributes:
        offsets: byte offset of every tensor, the network's input and output included.
        scratch: per step, the offset of what its kernel uses while it runs: patches of the input
            and unpacked weights.
        size: bytes of the arena: all RAM of one inference but the stack.
    """

    offsets: dict[str, int]
    scratch: dict[str, int]
    size: int


def plan(network: IntegerNetwork) -> Arena:
    """Places tensors by the planner that the search counts with.

    Its size is ``ram_kb`` of the stack ``joint-ga-c``, to the byte (see ``hardware.memory.arena``).
    """
    sizes = {network.input.name: network.input.bytes}
    spans = {network.input.name: (0, 0)}
    for index, step in enumerate(network.steps):
        for tensor in (*step.inputs, step.output):
            sizes.setdefault(tensor.name, tensor.bytes)
            spans[tensor.name] = (spans.get(tensor.name, (index, index))[0], index)
    for output in network.outputs:
        first, _ = spans[output.tensor.name]
        spans[output.tensor.name] = (first, max(len(network.steps) - 1, 0))
    rows = [
        (step.name, size, index)
        for index, step in enumerate(network.steps)
        if (size := _scratch_of(step))
    ]
    planner = Planner([*spans.values(), *((index, index) for _, _, index in rows)])
    places, size = planner.place([*(sizes[n] for n in spans), *(size for _, size, _ in rows)])
    offsets = dict(zip(spans, places, strict=False))
    scratch = {name: at for (name, *_), at in zip(rows, places[len(spans) :], strict=True)}
    return Arena(offsets, scratch, size)


def _scratch_of(step: Step) -> int:
    if isinstance(step, Recurrent):
        return step.scratch_bytes(max(map(scratch_bytes, step.products)))
    return scratch_bytes(step) if isinstance(step, Convolution) else 0


def scratch_bytes(step: Convolution) -> int:
    """Bytes that the kernel of a step uses beside its tensors, as `kernels.h` states them."""
    window, (image, out) = step.window, (step.inputs[0].shape, step.output.shape)
    leaves = any(m > 0 for m in margins(window, image, out))
    if step.is_depthwise:
        taps = window.kernel[0] * window.kernel[1]
        return depthwise_scratch(taps, image[2], is_plain=step.reads_in_place, leaves_image=leaves)
    single = (
        out[:2] == (1, 1)
        and window.kernel == image[:2]
        and window.padding == (0, 0)
        and (step.groups == 1 or image[:2] == (1, 1))
        and all(d == 1 or k == 1 for k, d in zip(window.kernel, window.dilation, strict=True))
    )
    rows, n = step.rows.shape
    return convolution_scratch(n, rows // step.groups, is_coded=step.is_coded, is_single=single,
        is_pointwise=window.kernel == (1, 1) and not leaves,
    )  # fmt: skip
