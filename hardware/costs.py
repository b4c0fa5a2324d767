"""What a candidate costs on a device: flash, peak RAM, latency, energy, MACs and BOPs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from hardware.device import Device
from hardware.ir.layer import Layer
from hardware.latency.cycles import layer_cycles
from hardware.latency.kernel_calls import unpacked_bytes
from hardware.memory.planner import Buffer, buffers, plan
from hardware.memory.weight_packing import weight_bytes

KB = 1024
BIAS_BYTES = 4
"""Of the kernels' 32-bit accumulators."""
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

    @classmethod
    def of(
        cls, flash: int, arena: int, cycles: float, macs: int, bops: int, device: Device
    ) -> Costs:
        """Return the costs that follow from sums over a network: bytes, bytes, cycles, counts."""
        latency_ms = cycles / device.clock_mhz / 1000
        energy_mj = device.power_mw * latency_ms / 1000
        return cls(flash / KB, arena / KB, latency_ms, energy_mj, macs, bops)

    def as_dict(self) -> dict[str, float]:
        """Return the metrics, rounded as every trial reports them (the one place for it)."""
        return {
            "size_kb": round(self.size_kb, 3),
            "ram_kb": round(self.ram_kb, 3),
            "latency_ms": round(self.latency_ms, 6),
            "energy_mj": round(self.energy_mj, 6),
            "macs": self.macs,
            "bops": self.bops,
        }


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

    @property
    def total(self) -> int:
        """All bytes that the exported artifact holds."""
        return self.weights + self.bias + self.requantization


def layer_flash(layer: Layer, device: Device) -> Flash:
    """Return the flash bytes of one layer's own module; zeros for an operator without weights.

    Weights as `packing` lays them out, 4 bytes per bias, and for the software stack's
    requantization `requant_bytes` per output channel (8: a 32-bit multiplier and shift) with two
    32-bit zero points. Constants of element-wise operators are code, not data.
    """
    if not layer.is_weighted:
        return Flash(0, 0, 0)
    requant = device.runtime.requant_bytes
    return Flash(
        weights=weight_bytes(layer),
        bias=BIAS_BYTES * layer.out_channels if layer.bias else 0,
        requantization=layer.out_channels * requant + (OFFSETS_BYTES if requant else 0),
    )


def flash(layers: Iterable[Layer], device: Device) -> Flash:
    """Return the flash bytes of a network; layers that share a module count once."""
    parts = [layer_flash(layer, device) for layer in unique(layers)]
    return Flash(
        sum(p.weights for p in parts),
        sum(p.bias for p in parts),
        sum(p.requantization for p in parts),
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
    are stored sparse or as powers of two are unpacked to a buffer beside it.
    """
    unpacked = unpacked_bytes(layer)
    if device.runtime.scratch == "none" or layer.op != "conv":
        return unpacked
    if all(k == 1 for k in layer.kernel) and all(s == 1 for s in layer.stride):
        return unpacked
    return unpacked + 2 * 2 * (-(-layer.row_weights // 4) * 4)


def ram_buffers(layers: Sequence[Layer], device: Device) -> list[Buffer]:
    """Return the buffers of one inference, kernel scratch included."""
    return buffers(layers, [scratch_bytes(layer, device) for layer in layers])


def estimate(layers: Sequence[Layer], device: Device) -> Costs:
    """Return what a network costs on a device.

    Args:
        layers: in execution order, as `Network.apply` returns them.
        device: profile with the software stack in use.

    Raises:
        ValueError: bits that the device cannot run, or an operator without a cost model.
    """
    macs = bops = 0
    for layer in layers:
        if layer.is_weighted:
            device.check_bits(layer.w_bits, layer.a_bits)
        if count := layer.macs:
            macs += count
            bops += count * layer.w_bits * layer.a_bits
    # Rounded once, so that no order of adding matters (see `cost_function`).
    cycles = math.fsum(layer_cycles(layers, device.core, device.runtime))
    arena = plan(ram_buffers(layers, device))
    return Costs.of(flash(layers, device).total, arena, cycles, macs, bops, device)


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
    blocks = ram_buffers(layers, device)
    owners = {id(layer) for layer in unique(layers)}
    cycles = layer_cycles(layers, device.core, device.runtime)
    rows: list[LayerCosts] = []
    for step, layer in enumerate(layers):
        latency_ms = cycles[step] / device.clock_mhz / 1000
        rows.append(
            {
                "name": layer.name,
                "op": layer.op,
                "macs": layer.macs,
                "size_kb": layer_flash(layer, device).total / KB if id(layer) in owners else 0.0,
                "ram_kb": sum(b.size for b in blocks if b.first <= step <= b.last) / KB,
                "latency_ms": latency_ms,
                "energy_mj": device.power_mw * latency_ms / 1000,
            }
        )
    return rows
