"""What a candidate costs on a device: flash, peak RAM, latency, energy, MACs and BOPs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from hardware.device import Device
from hardware.ir.layer import GATES, UNPACKABLE_OPS, Layer
from hardware.latency.cycles import clamp_cycles, copy_cycles, cycles_of
from hardware.latency.kernel_calls import unpacked_bytes
from hardware.memory import c_flash, tflm_arena
from hardware.memory.arena import arena_of
from hardware.memory.kernel_scratch import layer_scratch
from hardware.memory.planner import Buffer, fused_activations, plan, tensor_shapes
from hardware.memory.weight_packing import tensor_bytes, weight_bytes
from hardware.versions import FIRST

KB = 1024
BIAS_BYTES = 4
"""Of the kernels' 32-bit accumulators."""
UNROUNDED_BITS = 8
"""Of activations where nothing rounds them further."""
ACCUMULATOR_BYTES = 4
"""Of the kernels' sums."""
PARAMS_BYTES = 4
"""Of each number of `Layer.params`: tables, slopes and norms stay in float32."""
OFFSETS_BYTES = 8
"""Input and output zero points of a weighted layer, as two 32-bit words."""


@dataclass(frozen=True)
class Costs:
    """Costs of one network on one device; kb = 1024 bytes."""

    size_kb: float
    ram_kb: float
    latency_ms: float
    energy_mj: float
    macs: int
    bops: int
    flash_kb: float | None = None
    """Weights, code and tables; None in version 1 of the costs, which had no such figure."""

    @classmethod
    def of(
        cls, terms: Sequence[Terms], arena: int, copies: Iterable[int], narrow: int, device: Device
    ) -> Costs:
        """Return the costs that follow from sums over a network.

        Args:
            terms: of each layer.
            arena: bytes of the activations and kernel scratch.
            copies: elements of each tensor that the C writes a second time.
            narrow: elements that the C clamps to less than a byte.
            device: profile with the software stack in use.
        """
        flash, cycles, macs, bops, _, code, ram, units = zip(*terms, strict=True)
        again = [copy_cycles(n, device.core, device.runtime) for n in copies]
        clamps = clamp_cycles(narrow, device.core, device.runtime)
        # Rounded once, so that no order of adding matters (see `cost_function`).
        latency_ms = math.fsum((*cycles, *again, clamps)) / device.clock_mhz / 1000
        energy_mj = device.power_mw * latency_ms / 1000
        size = sum(flash)
        whole: float | None = None
        if device.version != FIRST:
            whole = size / KB + device.runtime.code_kb
            if device.runtime.memory == "c":
                used = frozenset().union(*units)
                counts = device.runtime.counts
                whole += (
                    sum(code) + c_flash.code_bytes(used, len(again), device.core, counts)
                ) / KB
        if device.runtime.memory == "tflm":
            arena += tflm_arena.fixed_bytes() + sum(ram)
        return cls(size / KB, arena / KB, latency_ms, energy_mj, sum(macs), sum(bops), whole)

    def as_dict(self) -> dict[str, float]:
        """Return the metrics, rounded as every trial reports them (the one place for it)."""
        metrics = {
            "size_kb": round(self.size_kb, 3),
            "ram_kb": round(self.ram_kb, 3),
            "latency_ms": round(self.latency_ms, 6),
            "energy_mj": round(self.energy_mj, 6),
            "macs": self.macs,
            "bops": self.bops,
        }
        if self.flash_kb is not None:
            metrics["flash_kb"] = round(self.flash_kb, 3)
        return metrics


class Terms(NamedTuple):
    """What one layer adds to the costs of its network.

    Attributes:
        flash: bytes of its weights, biases, requantization and numbers.
        cycles: of one inference.
        macs: multiply-accumulates.
        bops: those times weight bits times activation bits.
        scratch: bytes in the arena while it runs.
        code: bytes of its call and its tables, where the exported C is costed.
        ram: bytes that its software keeps of it, where that is known.
        units: parts of the kernels that it links.
    """

    flash: int
    cycles: float
    macs: int
    bops: int
    scratch: int
    code: int
    ram: int
    units: frozenset[str]


def layer_terms(layer: Layer, device: Device, *, stored: bool, free: bool) -> Terms:
    """Return what a layer adds: the one place that says so.

    Args:
        layer: pruned, its bits set.
        device: profile with the software stack in use.
        stored: whether its weights are not those of a layer before.
        free: whether it runs inside the operator before it.

    Raises:
        ValueError: bits that the device cannot run, or an operator without a cost model.
    """
    check_bits(layer, device, layer.w_bits, layer.a_bits)
    macs, stack = layer.macs, device.runtime
    in_c = stack.memory == "c" and not free
    return Terms(
        flash=layer_flash(layer, device).total if stored else 0,
        cycles=0.0 if free else cycles_of(layer, device.core, stack),
        macs=macs,
        bops=macs * layer.w_bits * layer.a_bits,
        scratch=scratch_bytes(layer, device),
        code=c_flash.call_bytes(layer, device.core, stack.counts) if in_c else 0,
        ram=tflm_arena.layer_bytes(layer) if stack.memory == "tflm" and not free else 0,
        units=c_flash.units_of(layer) if in_c else frozenset(),
    )


class LayerCosts(TypedDict):
    """One layer's row in a table; `ram_kb` is what is alive while it runs."""

    name: str
    op: str
    macs: int
    size_kb: float
    ram_kb: float
    latency_ms: float
    energy_mj: float


@dataclass(frozen=True)
class Flash:
    """Flash bytes of a model, apart by what they hold."""

    weights: int
    bias: int
    requantization: int
    params: int = 0

    @property
    def total(self) -> int:
        """All bytes that the exported artifact holds."""
        return self.weights + self.bias + self.requantization + self.params


def layer_flash(layer: Layer, device: Device) -> Flash:
    """Return the flash bytes of one layer's own module; `params` alone without weights.

    Weights as `packing` lays them out, 4 bytes per bias (in the weights file each channel has one:
    it holds the zero points), and for the software stack's requantization `requant_bytes` per
    output channel (8: a 32-bit multiplier and shift) with two 32-bit zero points; of recurrent
    layers and tables per row. 4 bytes for each of `Layer.params`.
    Plain numbers in element-wise operators are code, not data.
    """
    params = PARAMS_BYTES * layer.params
    if not layer.is_weighted:
        return Flash(0, 0, 0, params)
    requant = device.runtime.requant_bytes
    rows = layer.out_channels
    in_c = requant > 0 and layer.op in UNPACKABLE_OPS
    if layer.op not in UNPACKABLE_OPS:
        rows = sum(rows for rows, _ in layer.matrices)
    return Flash(
        weights=weight_bytes(layer),
        bias=BIAS_BYTES * (rows if device.version != FIRST and in_c else layer.biases),
        requantization=rows * requant + (OFFSETS_BYTES if requant else 0),
        params=params,
    )


def flash(layers: Iterable[Layer], device: Device) -> Flash:
    """Return the flash bytes of a network; layers that share a module count once."""
    parts = [layer_flash(layer, device) for layer in unique(layers)]
    return Flash(
        sum(p.weights for p in parts),
        sum(p.bias for p in parts),
        sum(p.requantization for p in parts),
        sum(p.params for p in parts),
    )


def unique(layers: Iterable[Layer]) -> Iterable[Layer]:
    """Yield the layers whose weights are stored: of those that share a module, the first."""
    seen: set[str] = set()
    for layer in layers:
        if not layer.module or layer.module not in seen:
            seen.add(layer.module)
            yield layer


def scratch_bytes(layer: Layer, device: Device) -> int:
    """Bytes a kernel needs while it runs.

    `im2col16`: two patches widened to 16 bits, channels rounded up to 4, for a convolution that is
    not pointwise, as `arm_convolve_s8_get_buffer_size` of CMSIS-NN says for DSP cores. Weights that
    are stored sparse or as powers of two are unpacked to a buffer beside it. A recurrent layer
    holds its state; see `recurrent_bytes`. The exported C has its own sizes, see `kernel_scratch`.
    """
    if layer.kind in GATES:
        return recurrent_bytes(layer)
    if device.runtime.memory == "c":
        return layer_scratch(layer)
    unpacked = unpacked_bytes(layer)
    if device.runtime.scratch == "none" or layer.kind != "conv":
        return unpacked
    if all(k == 1 for k in layer.kernel) and all(s == 1 for s in layer.stride):
        return unpacked
    return unpacked + 2 * 2 * (-(-layer.row_weights // 4) * 4)


def recurrent_bytes(layer: Layer) -> int:
    """Bytes that a recurrent layer holds beside its input and output.

    For one time step of one direction: the 32-bit sums of its gates, its state in 32 bits, and an
    LSTM's cell. Between stacked layers lies a sequence at the layer's activation bits; a third one
    takes the place of the first.
    """
    layers, directions = layer.kernel[:2]
    out = layer.out_channels // directions
    state = layer.kernel[2] if len(layer.kernel) == 3 else out
    cells = state if layer.kind == "lstm" else 0
    step = ACCUMULATOR_BYTES * (GATES[layer.kind] * state + out + cells)
    return step + (tensor_bytes(layer.out_shape, layer.a_bits) if layers > 1 else 0)


def estimate(layers: Sequence[Layer], device: Device) -> Costs:
    """Return what a network costs on a device.

    Args:
        layers: in execution order, as `Network.apply` returns them.
        device: profile with the software stack in use.

    Raises:
        ValueError: bits that the device cannot run, or an operator without a cost model.
    """
    terms = _terms(layers, device)
    arena = arena_of(layers, device.runtime.memory)
    shapes, bits = tensor_shapes(layers), [layer.a_bits for layer in layers]
    copied, narrow = arena.copied(shapes, bits), arena.narrow(shapes, bits)
    return Costs.of(terms, plan(ram_buffers(layers, device)), copied, narrow, device)


def ram_buffers(layers: Sequence[Layer], device: Device) -> list[Buffer]:
    """Return the buffers of one inference, kernel scratch included."""
    arena = arena_of(layers, device.runtime.memory)
    sizes = arena.sizes(tensor_shapes(layers), [layer.a_bits for layer in layers])
    return arena.blocks(sizes, [scratch_bytes(layer, device) for layer in layers])


def _terms(layers: Sequence[Layer], device: Device) -> list[Terms]:
    free, own = fused_activations(layers), {id(layer) for layer in unique(layers)}
    return [layer_terms(x, device, stored=id(x) in own, free=x.name in free) for x in layers]


def check_bits(layer: Layer, device: Device, w_bits: int, a_bits: int) -> None:
    """Check that a device runs a layer with these bits.

    Raises:
        ValueError: it cannot.
    """
    if layer.op == "embedding":
        device.check_bits(w_bits, UNROUNDED_BITS)
    elif layer.is_weighted:
        device.check_bits(w_bits, a_bits)


def duty_cycle_energy_mj(costs: Costs, device: Device, period_ms: float) -> float:
    """Return the energy of one period in which the device infers once and sleeps the rest.

    `P_active * t + P_sleep * (T - t)`, with the profile's `sleep_mw`.

    Raises:
        ValueError: the profile has no sleep power, or the inference takes longer than the period.
    """
    if not device.sleep_mw:
        raise ValueError(f"device {device.id!r} has no sleep_mw; add it with its source")
    if period_ms < costs.latency_ms:
        raise ValueError(
            f"period_ms={period_ms:g} is shorter than one inference ({costs.latency_ms:.3f} ms)"
        )
    return costs.energy_mj + device.sleep_mw * (period_ms - costs.latency_ms) / 1000


def tops_per_watt(costs: Costs) -> float:
    """Return tera-operations (two per multiply-accumulate) per joule."""
    return 2 * costs.macs / (costs.energy_mj * 1e-3) / 1e12


def layer_costs(layers: Sequence[Layer], device: Device) -> list[LayerCosts]:
    """Return one row per layer; sizes of shared weights stand at their first layer.

    Raises:
        ValueError: as `estimate`.
    """
    terms, blocks = _terms(layers, device), ram_buffers(layers, device)
    arena = arena_of(layers, device.runtime.memory)
    rows: list[LayerCosts] = []
    for step, layer in enumerate(layers):
        latency_ms = terms[step].cycles / device.clock_mhz / 1000
        now = arena.moment(step)
        rows.append(
            {
                "name": layer.name,
                "op": layer.op,
                "macs": layer.macs,
                "size_kb": terms[step].flash / KB,
                "ram_kb": sum(b.size for b in blocks if b.first <= now <= b.last) / KB,
                "latency_ms": latency_ms,
                "energy_mj": device.power_mw * latency_ms / 1000,
            }
        )
    return rows
