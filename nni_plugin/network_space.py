"""The search space of a network on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hardware import Device, Layer, Network, flash
from hardware.ir.gene_kinds import A_BITS, PRUNE, W_BITS, GeneKind, Place, gene_kinds
from nni_plugin.protocol.json_types import NniSpace


def for_network(
    network: Network,
    device: Device,
    *,
    max_prune: float = 0.875,
    weight_bits: Sequence[int] | None = None,
    activation_bits: Sequence[int] | None = None,
    first_last: int | None = None,
    extra: Sequence[str] = (),
) -> NniSpace:
    """The NNI search space of a network on a device.

    Of each kind of gene (`hardware.ir.gene_kinds`) what it offers: a `<group>.prune` choice for
    every prunable channel group, with the ratios that leave distinct numbers of channels;
    `<layer>.w_bits` and `<layer>.a_bits` choices for every layer with weights; with `extra` those
    that are asked for, where they save bytes. What offers only what a missing gene means (no
    pruning, 8 bits) is left out. What a user decided (`Network.allowed`) goes before all that.

    Args:
        network: what is compressed.
        device: says which bits can be run.
        max_prune: largest ratio on offer, below 1.
        weight_bits: offer these only; a subset of the device's.
        activation_bits: likewise.
        first_last: the first and the last layer with weights get no fewer bits than these, and
            none of the extra genes.
        extra: of `extra_genes()`.

    Raises:
        ValueError: bits that the device cannot run, for all layers or one, a ratio outside
            [0, 1), a layer name with a slash, an unknown or impossible extra gene, or no gene at
            all.
    """
    if not 0 <= max_prune < 1:
        raise ValueError(f"max_prune={max_prune} should be from 0 to below 1")
    w_bits = _bits("weight_bits", weight_bits, device.weight_bits, device)
    a_bits = _bits("activation_bits", activation_bits, device.activation_bits, device)
    _check_extra(extra, device)
    _check_allowed(network, device)
    ends, end_bits = set[str](), (w_bits, a_bits)
    if first_last is not None:
        ends = {network.gene_layers[0], network.gene_layers[-1]}
        end_bits = (
            _at_least(first_last, w_bits, device.weight_bits, device),
            _at_least(first_last, a_bits, device.activation_bits, device),
        )
    offers = _Offers(network, device, (w_bits, a_bits), end_bits, ends, max_prune)
    kinds = [kind for kind in gene_kinds() if not kind.extra or kind.extra in extra]
    space = offers.of_layers(kinds)
    space = offers.of_network(kinds, any(map(PRUNE.owns, space))) | space
    if not space:
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in network.groups if not g.prunable)
        raise ValueError(
            f"network {network.name or '(unnamed)'!r} has no usable gene on device {device.id!r}: "
            f"nothing can be pruned ({reasons or 'it has no channel groups'}) and the device runs "
            f"one bit-width only (weights: {w_bits}, activations: {a_bits})"
        )
    return space


def extra_genes() -> tuple[str, ...]:
    """Genes that a space has only if they are asked for: each widens the search."""
    return tuple(kind.extra for kind in gene_kinds() if kind.extra)


Widths = tuple[Sequence[int], Sequence[int]]
"""Bits of weights and of activations that are on offer, in ascending order."""


@dataclass(frozen=True)
class _Offers:
    """Asks the kinds of genes what they offer at each place of a network."""

    network: Network
    device: Device
    widths: Widths
    end_widths: Widths
    ends: set[str]
    max_prune: float

    def of_layers(self, kinds: Sequence[GeneKind]) -> NniSpace:
        """Choices of layers and of groups, which are called after their first layers."""
        carriers = {kind.name: _carriers(self.network, kind) for kind in kinds}
        space: NniSpace = {}
        for layer in self.network.layers:
            for kind in kinds:
                left_out = kind.extra and layer.name in self.ends
                if layer.name in carriers[kind.name] and not left_out:
                    _offer(space, kind, layer.name, self._values(kind, layer))
        return space

    def _values(self, kind: GeneKind, layer: Layer) -> Sequence[object]:
        allowed = self.network.allowed.get(kind.key(layer.name))
        if allowed is None:
            return kind.offer(self._place(kind, layer, False))
        if kind is not PRUNE:
            return allowed
        # Of ratios that leave the same channels the first.
        left: dict[int, object] = {}
        for ratio in allowed:
            left.setdefault(self.network.kept({kind.key(layer.name): ratio})[layer.name], ratio)
        return list(left.values())

    def of_network(self, kinds: Sequence[GeneKind], prunes: bool) -> NniSpace:
        """Choices that all layers share."""
        space: NniSpace = {}
        for kind in kinds:
            if kind.scope == "network":
                _offer(space, kind, "", kind.offer(self._place(kind, None, prunes)))
        return space

    def _place(self, kind: GeneKind, layer: Layer | None, prunes: bool) -> Place:
        name = "" if layer is None else layer.name
        return Place(
            layer,
            *(self.end_widths if name in self.ends else self.widths),
            max_prune=self.max_prune,
            prunes=prunes,
            channels_left=partial(_channels_left, self.network, name),
            saves=partial(_saves, self.network, self.device, name, kind),
        )


def _check_extra(extra: Sequence[str], device: Device) -> None:
    known = {kind.extra: kind for kind in gene_kinds() if kind.extra}
    for name in extra:
        if name not in known:
            raise ValueError(f"extra gene {name!r} is unknown (there are: {', '.join(known)})")
        if known[name].unpacks and device.runtime.model != "kernels":
            raise ValueError(
                f"extra gene {name!r}: device {device.id!r} runs its own weight format and can "
                "neither unpack zeros nor shift (a CPU core can)"
            )


def _check_allowed(network: Network, device: Device) -> None:
    """Refuses decisions about single layers that the device can't follow."""
    for kind, supported in ((W_BITS, device.weight_bits), (A_BITS, device.activation_bits)):
        for key, values in network.allowed.items():
            bad = [value for value in values if value not in supported] if kind.owns(key) else []
            if bad:
                raise ValueError(
                    f"{key}={bad[0]} is not supported by device {device.id!r} "
                    f"(allowed: {', '.join(map(str, sorted(supported)))})"
                )


def _offer(space: NniSpace, kind: GeneKind, name: str, values: Sequence[object]) -> None:
    key = kind.key(name)
    if "/" in key:
        raise ValueError(
            f"layer name {name!r} contains a slash, at which NNI's web UI "
            "cuts names; rename the module"
        )
    if values and list(values) != [kind.neutral]:
        space[key] = {"_type": "choice", "_value": list(values)}


def _carriers(network: Network, kind: GeneKind) -> set[str]:
    """What may get a gene of a kind: of the groups those whose channels can be removed."""
    names = set(network.carriers(kind))
    if kind.scope == "group":
        names = {name for name in names if network.group(name).prunable}
    return names


def _channels_left(network: Network, group: str, ratio: float) -> int:
    return network.kept({PRUNE.key(group): ratio})[group]


def _saves(network: Network, device: Device, layer: str, kind: GeneKind, value: object) -> bool:
    """Whether a value makes the network smaller, nothing else compressed."""
    widest = max(b for b in device.weight_bits if b <= 8)
    bits: dict[str, object] = {W_BITS.key(layer): widest}

    def size(genes: dict[str, object]) -> int:
        return flash(network.apply(bits | genes), device).total

    return size({kind.key(layer): value}) < size({})


def _bits(
    name: str, wanted: Sequence[int] | None, supported: Sequence[int], device: Device
) -> list[int]:
    allowed = sorted(supported)
    bad = sorted(set(wanted or ()) - set(allowed))
    if bad or (wanted is not None and not wanted):
        raise ValueError(
            f"{name}={bad[0] if bad else wanted!r} is not supported by device {device.id!r} "
            f"(allowed: {', '.join(map(str, allowed))})"
        )
    return sorted(set(wanted)) if wanted is not None else allowed


def _at_least(
    least: int, offered: Sequence[int], supported: Sequence[int], device: Device
) -> list[int]:
    """The offered widths from `least` on, or the device's own smallest such width."""
    wide = [bits for bits in offered if bits >= least]
    own = sorted(bits for bits in supported if bits >= least)
    if not own:
        raise ValueError(
            f"first_last={least} is not supported by device {device.id!r} "
            f"(allowed: {', '.join(map(str, sorted(supported)))})"
        )
    return wide or own[:1]
