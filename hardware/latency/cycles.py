"""Clock cycles of each layer on a device, by the model its stack names.

- `kernels`: counted instructions times the stack's factors (`calibration`), for CPU cores.
- `table`: multiply-accumulates per cycle by operator and bits, and cycles per call of a layer, for
  cores that are not emulated.
- `ne16`: the analytic model of the NE16 accelerator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hardware.cores import COUNTED_AS, KERNEL_SET
from hardware.ir.layer import GATES, UNIFORM, VIEW_OPS, Layer
from hardware.latency.kernel_calls import (
    KNOWN_OPS,
    PRICED_BY_ELEMENTS,
    needs_unpacking,
    per_step,
)
from hardware.latency.layer_instructions import counted, layer_class
from hardware.memory.planner import fused_activations
from hardware.runtime import Runtime


def layer_cycles(layers: Sequence[Layer], core: str, stack: Runtime) -> list[float]:
    """Return the cycles of each layer of one inference; 0 for views and fused activations.

    Raises:
        ValueError: an operator without a cost model; the message names it.
    """
    fused = fused_activations(layers)
    return [0.0 if layer.name in fused else cycles_of(layer, core, stack) for layer in layers]


def cycles_of(layer: Layer, core: str, stack: Runtime) -> float:
    """Return the cycles of one layer that no other has taken in; 0 for a view.

    Raises:
        ValueError: as `layer_cycles`.
    """
    if stack.model == "kernels":
        kind = layer_class(layer)
        factor = {"depthwise": stack.depthwise, "linear": stack.linear}.get(kind, 1.0)
        cycles = stack.kappa * factor * counted(layer, core, stack.counts)
        return max(cycles, _streamed(layer, stack)) if kind == "linear" else cycles
    if layer.op in VIEW_OPS:
        return 0.0
    return _ne16(layer, stack) if stack.model == "ne16" else _from_table(layer, stack)


def copy_cycles(elements: int, core: str, stack: Runtime) -> float:
    """Return the cycles of writing a tensor again in another storage, as the exported C does."""
    shape = (elements,)
    again = Layer("copy", "add", ("input",), shape, shape)
    return stack.kappa * counted(again, core, stack.counts)


def _streamed(layer: Layer, stack: Runtime) -> float:
    """Cycles that reading a fully-connected layer's weights once takes at least."""
    return stack.stream_cycles * layer.weights * layer.w_bits / 8


_CLAMP = {"dsp": 7.3}
"""Instructions that an output takes more which is clamped to less than a byte, by kernel set.

Whole bytes are saturated by one instruction there. Counted on convolutions of DS-CNN with 4-bit
activations (`benchmarks/hardware/deployed.py`); the other sets clamp all outputs alike.
"""


def clamp_cycles(elements: int, core: str, stack: Runtime) -> float:
    """Return the cycles that outputs of less than a byte take more, in the exported C."""
    if not elements:
        return 0.0
    return stack.kappa * elements * _CLAMP.get(KERNEL_SET[COUNTED_AS[core]], 0.0)


def _check(layer: Layer) -> None:
    if layer.op not in KNOWN_OPS:
        raise ValueError(
            f"layer {layer.name!r}: operator {layer.op!r} has no cost model; known: "
            f"{', '.join(KNOWN_OPS)}"
        )
    if needs_unpacking(layer):
        stored = "powers of two" if layer.w_scheme != UNIFORM else "sparse"
        raise ValueError(
            f"layer {layer.name!r}: its weights are stored as {stored}, which only devices with "
            "counted kernels (Cortex-M and the like) can cost; leave that gene out for this device"
        )


def _elements(layer: Layer) -> int:
    if layer.op in PRICED_BY_ELEMENTS:
        return math.prod(layer.in_shape) + math.prod(layer.out_shape)
    shape = layer.in_shape if layer.op in ("pool", "global_pool", "reduce") else layer.out_shape
    return math.prod(shape)


def _from_table(layer: Layer, stack: Runtime) -> float:
    _check(layer)
    if not layer.macs:
        return stack.layer_cycles + _elements(layer) * stack.element_cycles
    rates: Mapping[str, float] = stack.macs_per_cycle.get(layer_class(layer), {})
    bits = f"a{layer.a_bits}w{layer.w_bits}"
    if bits not in rates:
        raise ValueError(
            f"layer {layer.name!r}: stack {stack.name!r} has no rate for {layer.op} at {bits} "
            f"(it has {', '.join(rates) or 'none'})"
        )
    return stack.layer_cycles + layer.macs / rates[bits]


def _ne16(layer: Layer, stack: Runtime) -> float:
    """NE16: output tiles of 3 x 3 x 32 (16 depthwise), 16 input channels at a time.

    Weights are streamed bit by bit, so a 3 x 3 convolution takes time in proportion to their bits;
    1 x 1 ones use the array's width for the bits instead. After PULP's NE16 model as in PLiNIO
    (Apache-2.0, `cost/ne16_latency.py`), without DMA.
    """
    _check(layer)
    if not layer.macs:
        return _elements(layer) * stack.element_cycles
    if layer.kind in GATES:
        steps = math.prod(layer.in_shape[:-1])
        return steps * sum(_ne16(one, stack) for one in per_step(layer))
    depthwise = layer.kind == "depthwise"
    height, width = _plane(layer)
    kh, kw = layer.kernel if len(layer.kernel) == 2 and layer.kind != "linear" else (1, 1)
    tiles = -(-height // 3) * -(-width // 3)
    threes = (kh // 3) * (kw // 3)
    ones = (kh % 3) * kw + (kw % 3) * kh - (kh % 3) * (kw % 3)
    total = 0.0
    for count, three in ((threes, True), (ones, False)):
        block = 16 if depthwise else 32
        blocks = -(-layer.in_channels // layer.groups // 16)
        body, rest = divmod(layer.out_channels, block)
        cycles = body * _ne16_tile(block, blocks, three, depthwise, layer.w_bits)
        if rest:
            cycles += _ne16_tile(rest, blocks, three, depthwise, layer.w_bits)
        total += count * tiles * cycles
    return total


def _plane(layer: Layer) -> tuple[int, int]:
    if layer.kind == "linear":
        return 1, math.prod(layer.in_shape[:-1])
    shape = layer.out_shape[1:]
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)


def _ne16_tile(k: int, blocks: int, three: bool, depthwise: bool, w_bits: int) -> float:
    """Cycles of one output tile with `k` channels over all blocks of input channels."""
    fifo, update = 6, 2
    load = (fifo + 5 * 5) if three else (10 + 3 * 3)
    offset = fifo + (k if depthwise and three else 0)
    multiply = fifo + (k * w_bits if three else k)
    finish = 9 + k + 4 + 9 * -(-k * 8 // 256)
    once = 1 if depthwise and three else blocks
    return once * (load + offset + multiply + update) + finish
