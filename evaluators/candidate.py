"""A chromosome read as decisions: channels to keep per group, bits per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardware import Layer, Network


@dataclass(frozen=True)
class Bits:
    """Bit-widths of one module: of its weights and of its input activations."""

    weights: int
    inputs: int


@dataclass(frozen=True)
class Candidate:
    """What a chromosome says about a network.

    Attributes:
        kept: Channels kept, for every prunable group that loses some.
        bits: Per module that has weights.
        layers: The layers as they will be, from ``Network.apply``.
        removed: Fraction of the prunable groups' channels that goes.
    """

    kept: dict[str, int]
    bits: dict[str, Bits]
    layers: tuple[Layer, ...]
    removed: float


def read_candidate(network: Network, params: Mapping[str, Any]) -> Candidate:
    """Reads trial parameters.

    Raises:
        ValueError: A gene of another model, a ratio outside [0, 1) or bits that don't exist.
    """
    layers = network.apply(params)
    kept = {
        name: count
        for name, count in network.kept(params).items()
        if network.group(name).prunable and count < network.group(name).channels
    }
    bits = {
        layer.module: Bits(layer.w_bits, layer.a_bits)
        for layer in reversed(layers)
        if layer.is_weighted
    }
    prunable = sum(group.channels for group in network.groups if group.prunable)
    lost = sum(network.group(name).channels - count for name, count in kept.items())
    return Candidate(kept, bits, layers, lost / prunable if prunable else 0.0)
