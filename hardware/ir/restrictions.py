"""What a user decides about single layers: those that stay whole, bits and ratios allowed.

A pattern names layers with weights as `fnmatch` does: `head.*`, `*.conv1`. Without a wildcard it
also stands for all layers inside a module: `head` for `head.0`. `:first` and `:last` are the first
and the last layer with weights. Of patterns that meet the same layer the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from hardware.ir.finite import shortened
from hardware.ir.gene_kinds import A_BITS, PRUNE, RANK, SPARSITY, W_BITS
from hardware.ir.gene_kinds.prune import check_ratio
from hardware.ir.gene_kinds.registry import Params
from hardware.ir.layer import ChannelGroup, check_bits
from hardware.ir.network import Network

Values = int | float | Sequence[float]
"""One value, or several to choose from."""

FIRST, LAST = ":first", ":last"
_NAMED = 5


@dataclass(frozen=True)
class Restrictions:
    """What is decided about layers, by patterns of their names.

    Attributes:
        keep: layers that stay whole: no channel, weight or rank of them goes. Their bits are
            searched all the same.
        bits: widths allowed, of weights and activations; of one of them if the pattern ends in
            `.w_bits` or `.a_bits`.
        ratios: prune ratios allowed, for the group of a layer's channels.

    Raises:
        ValueError: no pattern, a width that there isn't, or a ratio outside [0, 1).
    """

    keep: Sequence[str] = ()
    bits: Mapping[str, Values] = field(default_factory=dict)
    ratios: Mapping[str, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.keep, str):
            raise ValueError(f"keep={self.keep!r} must be a list of patterns: [{self.keep!r}]")
        for pattern in (*self.keep, *self.bits, *self.ratios):
            if not isinstance(pattern, str) or not pattern.strip():
                raise ValueError(f"{shortened(pattern)} is no pattern of layer names")
        for pattern, values in self.bits.items():
            for value in _listed(f"bits of {pattern!r}", values):
                check_bits(value, f"bits of {pattern!r}")
        for pattern, values in self.ratios.items():
            for value in _listed(f"ratios of {pattern!r}", values):
                check_ratio(value, f"ratios of {pattern!r}")

    def __bool__(self) -> bool:
        return bool(self.keep or self.bits or self.ratios)


def restricted(network: Network, restrictions: Restrictions) -> Network:
    """Return the network with what is decided about its layers written into it.

    Groups of layers that are kept can no longer be pruned, with the pattern as the reason. Other
    decisions are in `Network.allowed`.

    Raises:
        ValueError: a pattern matches nothing, or asks to prune what must stay whole.
    """
    if not restrictions:
        return network
    allowed: dict[str, Sequence[object]] = dict(network.allowed)
    groups = {group.name: group for group in network.groups}
    group_of = {name: group.name for group in network.groups for name in group.layers}
    for pattern in restrictions.keep:
        for name in _matches(network, pattern, f"keep {pattern!r}"):
            if name in group_of:
                group = groups[group_of[name]]
                groups[group.name] = _kept(group, name, pattern)
            for kind in (SPARSITY, RANK):
                if name in network.carriers(kind):
                    allowed[kind.key(name)] = (kind.neutral,)
    for pattern, values in restrictions.ratios.items():
        where = f"ratios {pattern!r}"
        names = _matches(network, pattern.removesuffix(f".{PRUNE.name}"), where)
        chosen = dict.fromkeys(group_of[name] for name in names if name in group_of)
        _check_prunable(pattern, names, [groups[name] for name in chosen])
        ratios = tuple(sorted({float(value) for value in _listed(where, values)}))
        for name in chosen:
            if groups[name].prunable:
                allowed[PRUNE.key(name)] = ratios
    for pattern, values in restrictions.bits.items():
        widths = tuple(sorted({int(value) for value in _listed(f"bits {pattern!r}", values)}))
        allowed |= dict.fromkeys(_bit_genes(network, pattern), widths)
    # What was allowed of a group that is kept by now.
    kept = {PRUNE.key(group.name) for group in groups.values() if not group.prunable}
    return Network(
        network.layers,
        [groups[group.name] for group in network.groups],
        name=network.name,
        channel_multiple=network.channel_multiple,
        metadata=network.metadata,
        allowed={key: values for key, values in allowed.items() if key not in kept},
        costs_version=network.costs_version,
    )


def _bit_genes(network: Network, pattern: str) -> list[str]:
    """Genes of the widths that a pattern is about."""
    kinds = [kind for kind in (W_BITS, A_BITS) if pattern.endswith(f".{kind.name}")]
    layers = pattern.removesuffix(f".{kinds[0].name}") if kinds else pattern
    names = _matches(network, layers, f"bits {pattern!r}")
    # Not everything with weights has activations that are rounded.
    genes = [
        kind.key(name)
        for kind in kinds or (W_BITS, A_BITS)
        for name in names
        if name in network.carriers(kind)
    ]
    if not genes:
        raise ValueError(f"bits {pattern!r}: {_listing(names)} has no such bits to choose")
    return genes


def check_allowed(network: Network, params: Params) -> None:
    """Refuses values that a user ruled out.

    Raises:
        ValueError: a gene has one; the message says what is allowed.
    """
    for key, values in network.allowed.items():
        if key in params and params[key] not in values:
            only = "only " if len(values) == 1 else ""
            raise ValueError(
                f"{key}={shortened(params[key])} is not allowed: the task or the search space of "
                f"network {network.name or '(unnamed)'!r} leaves it "
                f"{only}{', '.join(map(str, values))}"
            )


def _listed(where: str, values: Values) -> Sequence[float]:
    listed = [values] if isinstance(values, (int, float)) else list(values)
    if not listed:
        raise ValueError(f"{where}: give at least one value")
    return listed


def _kept(group: ChannelGroup, name: str, pattern: str) -> ChannelGroup:
    if not group.prunable:
        return group
    reason = f"kept whole by the pattern {pattern!r}"
    if len(group.layers) > 1:
        tied = [layer for layer in group.layers if layer != name]
        reason += f", which matches '{name}', to which {_listing(tied)} {_is(tied)} tied"
    return replace(group, prunable=False, reason=reason)


def _check_prunable(pattern: str, names: Sequence[str], groups: Sequence[ChannelGroup]) -> None:
    """Refuses ratios that have no effect: of a layer named exactly, or of all that match."""
    if any(group.prunable for group in groups) and (_is_wild(pattern) or len(names) > 1):
        return
    for group in groups:
        if not group.prunable:
            tied = "" if group.name in names else f" is tied to {group.name!r} and"
            raise ValueError(
                f"ratios {pattern!r}: layer {names[0]!r}{tied} can't be pruned ({group.reason})"
            )
    if not groups:
        raise ValueError(f"ratios {pattern!r}: layer {names[0]!r} keeps its channels in any case")


def _matches(network: Network, pattern: str, where: str) -> list[str]:
    """Layers that carry genes and that a pattern means; calls of a module are one layer."""
    found = [owner for name, owner in network.owners.items() if _means(network, pattern, name)]
    if not found:
        names = list(network.gene_layers)
        modules = {name.rpartition(".")[0] for name in names} - {""}
        near = get_close_matches(pattern, [*names, *sorted(modules)], 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"{where} matches no layer with weights{hint}; there are {_listing(names)}"
        )
    return list(dict.fromkeys(found))


def _means(network: Network, pattern: str, name: str) -> bool:
    if pattern in (FIRST, LAST):
        return name == network.gene_layers[0 if pattern == FIRST else -1]
    if fnmatchcase(name, pattern):
        return True
    return not _is_wild(pattern) and name.startswith(f"{pattern}.")


def _is_wild(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _listing(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
