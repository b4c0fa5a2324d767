"""NNI search spaces and `ga` genes; the search space of a network on a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ga import Categorical, Gene, Integer, Normal, Ordered, Real, SearchSpace
from ga.genes import same_value
from hardware import ChannelGroup, Device, Network

NniSpace = dict[str, dict[str, Any]]

# Prune ratios on offer per group, in eighths up to 7/8; a group of very many channels gets
# sixteenths, since one step of an eighth would already remove dozens of them.
_COARSE = 8
_FINE = 16
_WIDE = 128


def parse(nni_space: Mapping[str, Any]) -> SearchSpace:
    """The genes of an NNI search space, of any type that NNI documents, nested choices too.

    A `choice` of numbers only, listed upwards or downwards, becomes an ordered gene; so do all
    numeric choices under keys that end in .prune, .w_bits or .a_bits, in any order. Every other
    choice is categorical. `randint` keeps NNI's meaning: the upper bound is not included.

    Raises:
        ValueError: not a dict, an unknown `_type`, an empty or malformed `_value`, or no gene that
            has more than one value.
    """
    space = SearchSpace(_genes(nni_space, "the search space"))
    if space.cardinality == 1:
        raise ValueError(
            "the search space has no usable gene: none of its entries has more than one value"
        )
    return space


def _genes(nni_space: Any, where: str) -> list[Gene]:
    if not isinstance(nni_space, Mapping):
        raise ValueError(f"{where} is {nni_space!r}, expected a dict of parameters")
    if not nni_space and where == "the search space":
        raise ValueError("the search space has no usable gene: it is empty")
    return [_gene(name, entry) for name, entry in nni_space.items()]


def _gene(name: str, entry: Any) -> Gene:
    if not isinstance(entry, Mapping) or "_type" not in entry or "_value" not in entry:
        raise ValueError(
            f"search space entry {name!r} is {entry!r}, expected {{'_type': ..., '_value': [...]}}"
        )
    kind, value = entry["_type"], entry["_value"]
    if not isinstance(kind, str) or kind not in _PARSERS:
        raise ValueError(
            f"search space entry {name!r} has unknown _type {kind!r} "
            f"(allowed: {', '.join(_PARSERS)})"
        )
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError(
            f"search space entry {name!r} ({kind}) has _value {value!r}, expected a non-empty list"
        )
    return _PARSERS[kind](name, list(value))


def _choice(name: str, values: list[Any]) -> Gene:
    nested = [isinstance(v, Mapping) and "_name" in v for v in values]
    if any(nested):
        if not all(nested):
            raise ValueError(
                f"search space entry {name!r} mixes nested choices (dicts with '_name') with "
                f"other values: {values[nested.index(False)]!r}"
            )
        names = [v["_name"] for v in values]
        children = [
            _genes(
                {key: entry for key, entry in v.items() if key != "_name"},
                f"option {v['_name']!r} of {name!r}",
            )
            for v in values
        ]
        return Categorical(name, tuple(names), tuple(tuple(genes) for genes in children))
    # NNI takes a value that is listed twice; here it would be two candidates for one network.
    unique: list[Any] = []
    for v in values:
        if not any(same_value(v, other) for other in unique):
            unique.append(v)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in unique):
        if not all(math.isfinite(v) for v in unique):
            raise ValueError(
                f"search space entry {name!r} has a value that is not finite: {unique}"
            )
        if name.rsplit(".", 1)[-1] in ("prune", "w_bits", "a_bits"):
            return Ordered(name, tuple(sorted(unique)))
        if unique in (sorted(unique), sorted(unique, reverse=True)):
            return Ordered(name, tuple(unique))
    return Categorical(name, tuple(unique))


def _numbers(name: str, kind: str, values: list[Any], names: tuple[str, ...]) -> list[float]:
    good = len(values) == len(names) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if not good:
        raise ValueError(
            f"search space entry {name!r} ({kind}) has _value {values!r}, "
            f"expected [{', '.join(names)}] as numbers"
        )
    return values


def _randint(name: str, values: list[Any]) -> Gene:
    lower, upper = _numbers(name, "randint", values, ("lower", "upper"))
    if lower != int(lower) or upper != int(upper) or lower >= upper:
        raise ValueError(
            f"search space entry {name!r} (randint) has _value {values!r}, expected whole numbers "
            "with lower < upper (upper is not included)"
        )
    return Integer(name, int(lower), int(upper) - 1)


def _uniform(kind: str) -> Callable[[str, list[Any]], Gene]:
    log, quantized = "log" in kind, kind.startswith("q")

    def make(name: str, values: list[Any]) -> Gene:
        low, high, *q = _numbers(name, kind, values, ("low", "high") + ("q",) * quantized)
        if low >= high or (log and low <= 0) or (q and q[0] <= 0):
            wanted = "low < high" + ", low > 0" * log + ", q > 0" * quantized
            raise ValueError(
                f"search space entry {name!r} ({kind}) has _value {values!r}, expected {wanted}"
            )
        return Real(name, low, high, log=log, step=q[0] if q else None)

    return make


def _normal(kind: str) -> Callable[[str, list[Any]], Gene]:
    log, quantized = "log" in kind, kind.startswith("q")

    def make(name: str, values: list[Any]) -> Gene:
        mu, sigma, *q = _numbers(name, kind, values, ("mu", "sigma") + ("q",) * quantized)
        if sigma <= 0 or (q and q[0] <= 0):
            wanted = "sigma > 0" + ", q > 0" * quantized
            raise ValueError(
                f"search space entry {name!r} ({kind}) has _value {values!r}, expected {wanted}"
            )
        return Normal(name, mu, sigma, log=log, step=q[0] if q else None)

    return make


_PARSERS: dict[str, Callable[[str, list[Any]], Gene]] = {
    "choice": _choice,
    "randint": _randint,
    **{k: _uniform(k) for k in ("uniform", "quniform", "loguniform", "qloguniform")},
    **{k: _normal(k) for k in ("normal", "qnormal", "lognormal", "qlognormal")},
}


def for_network(
    network: Network,
    device: Device,
    *,
    max_prune: float = 0.875,
    weight_bits: Sequence[int] | None = None,
    activation_bits: Sequence[int] | None = None,
) -> NniSpace:
    """The NNI search space of a network on a device.

    A `<group>.prune` choice for every prunable channel group, with the ratios that leave distinct
    numbers of channels, in eighths (sixteenths from 128 channels on); `<layer>.w_bits` and
    `<layer>.a_bits` choices for every layer with weights. What has one option only is left out:
    a missing gene means no pruning and 8 bits, so a device whose only width is not 8 keeps it.

    Args:
        network: what is compressed.
        device: says which bits can be run.
        max_prune: largest ratio on offer, below 1.
        weight_bits: offer these only; a subset of the device's.
        activation_bits: likewise.

    Raises:
        ValueError: bits that the device cannot run, a ratio outside [0, 1), a layer name with a
            slash, or no gene at all.
    """
    if not 0 <= max_prune < 1:
        raise ValueError(f"max_prune={max_prune} should be from 0 to below 1")
    w_bits = _bits("weight_bits", weight_bits, device.weight_bits, device)
    a_bits = _bits("activation_bits", activation_bits, device.activation_bits, device)
    space: NniSpace = {}

    def offer(key: str, values: list[Any], default: Any) -> None:
        if "/" in key:
            raise ValueError(
                f"layer name {key.rpartition('.')[0]!r} contains a slash, at which NNI's web UI "
                "cuts names; rename the module"
            )
        if values and values != [default]:
            space[key] = {"_type": "choice", "_value": values}

    ratios = {g.name: _ratios(network, g, max_prune) for g in network.groups if g.prunable}
    bit_layers = set(network.gene_layers)
    for layer in network.layers:
        if layer.name in ratios:
            offer(f"{layer.name}.prune", list(ratios[layer.name]), 0.0)
        if layer.name in bit_layers:
            offer(f"{layer.name}.w_bits", list(w_bits), 8)
            offer(f"{layer.name}.a_bits", list(a_bits), 8)
    if not space:
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in network.groups if not g.prunable)
        raise ValueError(
            f"network {network.name or '(unnamed)'!r} has no usable gene on device {device.id!r}: "
            f"nothing can be pruned ({reasons or 'it has no channel groups'}) and the device runs "
            f"one bit-width only (weights: {w_bits}, activations: {a_bits})"
        )
    return space


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
