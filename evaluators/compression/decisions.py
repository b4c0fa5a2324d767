"""A chromosome read as decisions: channels to keep per group, bits and zeros per layer, ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hardware import Layer, Network
from hardware.ir.gene_kinds import RANK, GeneKind, kind_of
from hardware.ir.gene_kinds.pruner import read_pruner
from hardware.ir.layer import UNIFORM


@dataclass(frozen=True)
class Bits:
    """How one module's weights and input activations are stored.

    Attributes:
        weights: bits of a weight.
        inputs: bits of an input activation.
        scheme: values that weights take: one of ``hardware.ir.layer.W_SCHEMES``.
        zeros: weights that stay zero.
    """

    weights: int
    inputs: int
    scheme: str = UNIFORM
    zeros: int = 0


@dataclass(frozen=True)
class Candidate:
    """What a chromosome says about a network.

    Attributes:
        kept: channels kept, for every prunable group that loses some.
        bits: per module that has weights; factors are modules of their own.
        layers: the layers as they will be, from ``Network.apply``.
        removed: fraction of the prunable groups' channels that goes, or of the weights of the
            layers that are left, whichever is more.
        pruner: what channels are chosen by; ``None`` leaves it to the task.
        ranks: rank that is left, by module that is factorized.
        pruned: the layers before any is factorized.
        further: kind, layer and value of each gene whose kind says itself what the trial does.
    """

    kept: dict[str, int]
    bits: dict[str, Bits]
    layers: tuple[Layer, ...]
    removed: float
    pruner: str | None = None
    ranks: dict[str, int] = field(default_factory=dict)
    pruned: tuple[Layer, ...] = ()
    further: tuple[tuple[GeneKind, str, object], ...] = ()

    @property
    def is_cut(self) -> bool:
        """Whether the float weights change, before any rounding."""
        changed = self.kept or self.ranks or self.further
        return bool(changed or any(b.zeros for b in self.bits.values()))


def read_candidate(network: Network, params: Mapping[str, object]) -> Candidate:
    """Reads trial parameters.

    Raises:
        ValueError: a gene of another model, a ratio outside [0, 1) or bits that don't exist.
    """
    layers = network.apply(params)
    whole = {key: value for key, value in params.items() if not RANK.owns(key)}
    pruned = network.apply(whole) if len(whole) < len(params) else layers
    channels = {layer.name: layer.out_channels for layer in layers}
    ranks = {
        network.layer(name).module: channels[f"{name}.0"]
        for name in network.rank_layers
        if f"{name}.0" in channels
    }
    kept = {
        name: count
        for name, count in network.kept(params).items()
        if network.group(name).prunable and count < network.group(name).channels
    }
    bits = {
        layer.module: Bits(layer.w_bits, layer.a_bits, layer.w_scheme, layer.zeros)
        for layer in reversed(layers)
        if layer.is_weighted
    }
    prunable = sum(group.channels for group in network.groups if group.prunable)
    lost = sum(network.group(name).channels - count for name, count in kept.items())
    removed = max(lost / prunable if prunable else 0.0, _thinned(pruned, layers))
    pruner, further = read_pruner(params), _further(params)
    return Candidate(kept, bits, layers, removed, pruner, ranks, pruned, further)


def _further(params: Mapping[str, object]) -> tuple[tuple[GeneKind, str, object], ...]:
    """What the trial leaves to the kinds themselves, in the order of the chromosome."""
    found = []
    for key, value in params.items():
        kind = kind_of(key)
        if kind is not None and kind.compress is not None and not kind.is_neutral(value):
            carrier = "" if kind.scope == "network" else key.removesuffix(f".{kind.name}")
            found.append((kind, carrier, kind.check(value, key)))
    return tuple(found)


def _thinned(pruned: tuple[Layer, ...], layers: tuple[Layer, ...]) -> float:
    """Fraction of the weights that factors and zeros do without."""
    before = sum(layer.weights for layer in pruned)
    left = sum(layer.weights - layer.zeros for layer in layers)
    return max(0.0, 1.0 - left / before) if before else 0.0
