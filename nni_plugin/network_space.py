"""The search space of a network on a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardware import ChannelGroup, Device, Layer, Network, flash
from hardware.ir.gene_values import LEAST_SCHEME_BITS, PRUNER, PRUNERS
from hardware.ir.layer import UNIFORM, W_SCHEMES
from nni_plugin.protocol.json_types import NniSpace

EXTRA_GENES = ("pruner", "scheme", "sparsity", "rank")
"""Genes that a space has only if they are asked for: each widens the search."""

LARGE = 1024
"""Weights from which on a layer gets a sparsity or a rank gene: below, there is little to save."""

# Prune ratios on offer per group, in eighths up to 7/8; a group of very many channels gets
# sixteenths, since one step of an eighth would already remove dozens of them.
_COARSE = 8
_FINE = 16
_WIDE = 128

# Below a half, a bitmap of the zeros saves next to nothing at 4 bits.
_SPARSITIES = (0.5, 0.75, 0.875)
_RANKS = 8


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

    A `<group>.prune` choice for every prunable channel group, with the ratios that leave distinct
    numbers of channels, in eighths (sixteenths from 128 channels on); `<layer>.w_bits` and
    `<layer>.a_bits` choices for every layer with weights. What has one option only is left out:
    a missing gene means no pruning and 8 bits, so a device whose only width is not 8 keeps it.

    With `extra`, also one `pruner` for all groups, `<layer>.w_scheme` for every layer with
    weights, `<layer>.sparsity` and `<layer>.rank` for those of at least `LARGE` weights, with the
    values that save bytes in the unpruned layer at the widest bits.

    Args:
        network: what is compressed.
        device: says which bits can be run.
        max_prune: largest ratio on offer, below 1.
        weight_bits: offer these only; a subset of the device's.
        activation_bits: likewise.
        first_last: the first and the last layer with weights get no fewer bits than these, and
            none of the extra genes.
        extra: of `EXTRA_GENES`.

    Raises:
        ValueError: bits that the device cannot run, a ratio outside [0, 1), a layer name with a
            slash, an unknown or impossible extra gene, or no gene at all.
    """
    if not 0 <= max_prune < 1:
        raise ValueError(f"max_prune={max_prune} should be from 0 to below 1")
    w_bits = _bits("weight_bits", weight_bits, device.weight_bits, device)
    a_bits = _bits("activation_bits", activation_bits, device.activation_bits, device)
    _check_extra(extra, device)
    ends = {network.gene_layers[0], network.gene_layers[-1]} if first_last is not None else set()
    end_w_bits, end_a_bits = w_bits, a_bits
    if first_last is not None:
        end_w_bits = _at_least(first_last, w_bits, device.weight_bits, device)
        end_a_bits = _at_least(first_last, a_bits, device.activation_bits, device)
    space: NniSpace = {}

    def offer(key: str, values: Sequence[Any], default: Any) -> None:
        if "/" in key:
            raise ValueError(
                f"layer name {key.rpartition('.')[0]!r} contains a slash, at which NNI's web UI "
                "cuts names; rename the module"
            )
        if values and list(values) != [default]:
            space[key] = {"_type": "choice", "_value": list(values)}

    ratios = {g.name: _ratios(network, g, max_prune) for g in network.groups if g.prunable}
    if "pruner" in extra and any(len(values) > 1 for values in ratios.values()):
        offer(PRUNER, PRUNERS, None)
    bit_layers = set(network.gene_layers)
    for layer in network.layers:
        if layer.name in ratios:
            offer(f"{layer.name}.prune", ratios[layer.name], 0.0)
        if layer.name not in bit_layers:
            continue
        offer(f"{layer.name}.w_bits", end_w_bits if layer.name in ends else w_bits, 8)
        offer(f"{layer.name}.a_bits", end_a_bits if layer.name in ends else a_bits, 8)
        if layer.name in ends:
            continue
        if "scheme" in extra and max(w_bits) >= LEAST_SCHEME_BITS:
            offer(f"{layer.name}.w_scheme", W_SCHEMES, UNIFORM)
        if layer.weights >= LARGE:
            if "sparsity" in extra:
                values = [0.0, *_saving(network, device, layer, "sparsity", _SPARSITIES)]
                offer(f"{layer.name}.sparsity", values, 0.0)
            if "rank" in extra and layer.name in network.rank_layers:
                shares = [i / _RANKS for i in range(1, _RANKS)]
                offer(
                    f"{layer.name}.rank",
                    [*_saving(network, device, layer, "rank", shares), 1.0],
                    1.0,
                )
    if not space:
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in network.groups if not g.prunable)
        raise ValueError(
            f"network {network.name or '(unnamed)'!r} has no usable gene on device {device.id!r}: "
            f"nothing can be pruned ({reasons or 'it has no channel groups'}) and the device runs "
            f"one bit-width only (weights: {w_bits}, activations: {a_bits})"
        )
    return space


def _check_extra(extra: Sequence[str], device: Device) -> None:
    for name in extra:
        if name not in EXTRA_GENES:
            raise ValueError(
                f"extra gene {name!r} is unknown (there are: {', '.join(EXTRA_GENES)})"
            )
        if name in ("scheme", "sparsity") and device.runtime.model != "kernels":
            raise ValueError(
                f"extra gene {name!r}: device {device.id!r} runs its own weight format and can "
                "neither unpack zeros nor shift (a CPU core can)"
            )


def _saving(
    network: Network, device: Device, layer: Layer, kind: str, values: Sequence[float]
) -> list[float]:
    """The values that make the network smaller, nothing else compressed."""
    widest = max(b for b in device.weight_bits if b <= 8)
    bits = {f"{layer.name}.w_bits": widest}

    def size(genes: dict[str, float]) -> int:
        return flash(network.apply(bits | genes), device).total

    whole = size({})
    return [value for value in values if size({f"{layer.name}.{kind}": value}) < whole]


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


def _ratios(network: Network, group: ChannelGroup, max_prune: float) -> list[float]:
    """Prune ratios of a group that leave distinct numbers of channels, from 0 on."""
    parts = _FINE if group.channels >= _WIDE else _COARSE
    ratios: list[float] = []
    kept: set[int] = set()
    for i in range(parts):
        ratio = i / parts
        left = network.kept({f"{group.name}.prune": ratio})[group.name]
        if ratio <= max_prune and left not in kept:
            kept.add(left)
            ratios.append(ratio)
    return ratios
