"""A network as the search sees it: layers, channel groups, and a chromosome applied to them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from hardware.ir.factorization import changed, full_rank
from hardware.ir.finite import is_size, shortened
from hardware.ir.gene_kinds import (
    A_BITS,
    PRUNE,
    PRUNER,
    RANK,
    SPARSITY,
    W_BITS,
    W_SCHEME,
    GeneKind,
    gene_kinds,
)
from hardware.ir.gene_kinds.prune import check_ratio
from hardware.ir.gene_kinds.pruner import read_pruner
from hardware.ir.gene_kinds.registry import Params
from hardware.ir.gene_kinds.weight_bits import read_bits
from hardware.ir.layer import UNIFORM, UNPACKABLE_OPS, ChannelGroup, Layer, Shape
from hardware.ir.network_file import FORMAT, as_dict, parts_of, read_allowed, read_json, written
from hardware.ir.network_index import index_groups, index_layers
from hardware.ir.shape_inference import cut, input_shapes, operator_left, propagate
from hardware.versions import FIRST, LATEST, check_version

__all__ = ["ChannelGroup", "Layer", "Network"]

_GRAPH_KINDS = (PRUNER, PRUNE, W_BITS, A_BITS)
"""What a network reads by itself: channels and bits go through the graph together."""


class Network:
    """Layers in topological order with the groups of channels that can be removed.

    Immutable: `apply` returns new layers. Layers with one `module` share weights and genes; the
    genes are named after the first of them.

    Attributes:
        layers: the unpruned 8-bit layers, each after its producers.
        groups: channel groups; a weighted layer in none keeps its channels.
        name: for messages and reports.
        channel_multiple: kept channels are multiples of it where the group's count is.
        metadata: JSON data carried along (task, metric name and mode, device and its stack).
        allowed: values that a user left to some genes, by their names; see `restrictions`.
        costs_version: which costs its experiment began with; see `versions`.

    Raises:
        ValueError: layers out of order, unknown or repeated names, groups that do not fit.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        groups: Sequence[ChannelGroup] = (),
        *,
        name: str = "",
        channel_multiple: int = 1,
        metadata: Mapping[str, Any] | None = None,
        allowed: Mapping[str, Sequence[object]] | None = None,
        costs_version: int = LATEST,
    ) -> None:
        self.costs_version = check_version(costs_version)
        self.layers = tuple(layers)
        self.groups = tuple(groups)
        self.name = name
        self.channel_multiple = channel_multiple
        if metadata is not None and not isinstance(metadata, Mapping):
            raise ValueError(f"metadata={shortened(metadata)} must be a mapping")
        self.metadata: dict[str, Any] = dict(metadata or {})
        if not isinstance(name, str):
            raise ValueError(f"a network's name must be a text, got {shortened(name)}")
        if not is_size(channel_multiple):
            raise ValueError(
                f"channel_multiple={shortened(channel_multiple)} must be an integer >= 1"
            )
        if not self.layers:
            raise ValueError("a network needs at least one layer")
        self._layers = index_layers(self.layers)
        self._groups = index_groups(self.groups, self._layers)
        self._group_of = {m: g.name for g in self.groups for m in g.layers}
        self._owner = self._find_owners()
        quantized = set(self.carriers(A_BITS))
        self._bit_keys = [
            (n, W_BITS.key(n), A_BITS.key(n) if n in quantized else "") for n in self.gene_layers
        ]
        self._kinds = gene_kinds()
        owned = {kind.key(n): kind for kind in self._kinds for n in self.carriers(kind)}
        self._genes = {*owned, "uid"}
        self._options = {key for key, kind in owned.items() if kind not in _GRAPH_KINDS}
        built_in = (*_GRAPH_KINDS, W_SCHEME, SPARSITY, RANK)
        self.allowed = read_allowed(allowed or {}, owned)
        self._further = {key: kind for key, kind in owned.items() if kind not in built_in}

    def _find_owners(self) -> dict[str, str]:
        """Layer whose bit genes each weighted layer follows: the first call of its module."""
        first: dict[str, str] = {}
        return {
            layer.name: first.setdefault(layer.module or f"\0{layer.name}", layer.name)
            for layer in self.layers
            if layer.is_weighted
        }

    @property
    def owners(self) -> Mapping[str, str]:
        """Layer whose bit genes each weighted layer follows: the first call of its module."""
        return self._owner

    def layer(self, name: str) -> Layer:
        """Return the unpruned layer of that name; KeyError if there is none."""
        return self._layers[name]

    def group(self, name: str) -> ChannelGroup:
        """Return the channel group of that name; KeyError if there is none."""
        return self._groups[name]

    @cached_property
    def input_shapes(self) -> Mapping[str, Shape]:
        """Shapes of the network's inputs by name, without batch."""
        return input_shapes(self.layers)

    @cached_property
    def gene_layers(self) -> tuple[str, ...]:
        """Layers that carry bit genes: weighted ones, the first call of each module."""
        return tuple(name for name, owner in self._owner.items() if name == owner)

    @cached_property
    def rank_layers(self) -> tuple[str, ...]:
        """Layers that can be factorized: linear and 1x1 ones whose module is called once."""
        calls = Counter(self._owner.values())
        return tuple(
            name for name in self.gene_layers if calls[name] == 1 and full_rank(self._layers[name])
        )

    def carriers(self, kind: GeneKind) -> tuple[str, ...]:
        """Return the groups or layers that have a gene of a kind; "" for a network's."""
        if kind.scope == "group":
            return tuple(self._groups)
        if kind is A_BITS:
            # Positions in a table are no activations that could be rounded.
            return tuple(n for n in self.gene_layers if self._layers[n].op != "embedding")
        if kind in (W_SCHEME, SPARSITY):
            return tuple(n for n in self.gene_layers if self._layers[n].op in UNPACKABLE_OPS)
        if kind.scope == "layer":
            return self.gene_layers
        return self.rank_layers if kind.scope == "matrix" else ("",)

    def step(self, group: ChannelGroup) -> int:
        """Block size in which the channels of a group are kept."""
        step = math.lcm(group.step, self.channel_multiple)
        return step if group.channels % step == 0 else group.step

    def _check_keys(self, params: Params) -> None:
        for key in params:
            if key not in self._genes:
                raise ValueError(
                    f"chromosome for another model: {shortened(key)} names no gene of network "
                    f"{self.name or '(unnamed)'!r}"
                )

    def kept(self, params: Params) -> dict[str, int]:
        """Channels kept per group: `clip(floor(C (1 - ratio) / step + 0.5) step, step, C)`.

        Args:
            params: a chromosome; groups without a gene keep all channels.

        Raises:
            ValueError: a key that names nothing here, a ratio outside [0, 1), or a ratio above 0
                for a group that cannot be pruned.
        """
        self._check_keys(params)
        return {group.name: self._keep(group, params) for group in self.groups}

    def _keep(self, group: ChannelGroup, params: Params) -> int:
        key = PRUNE.key(group.name)
        ratio = check_ratio(params.get(key, 0.0), key)
        if ratio == 0:
            return group.channels
        if not group.prunable:
            raise ValueError(
                f"{key}={shortened(ratio)}: this group cannot be pruned ({group.reason})"
            )
        step = self.step(group)
        keep = math.floor(group.channels * (1 - ratio) / step + 0.5) * step
        return min(max(keep, step), group.channels)

    def bits(self, params: Params) -> dict[str, tuple[int, int]]:
        """Weight and activation bits of each weighted layer; 8 where no gene says otherwise.

        Raises:
            ValueError: a gene is no bit-width.
        """
        read = {
            name: (
                read_bits(params, w_key),
                read_bits(params, a_key) if a_key else self._layers[name].a_bits,
            )
            for name, w_key, a_key in self._bit_keys
        }
        return {name: read[owner] for name, owner in self._owner.items()}

    def phenotype(self, params: Params) -> Hashable:
        """Equal for two chromosomes exactly if they make the same network.

        Raises:
            ValueError: as `apply`.
        """
        bits = self.bits(params)
        kept = self.kept(params)
        plain = (tuple(kept.values()), tuple(bits[name] for name in self.gene_layers))
        pruner = read_pruner(params)
        if all(kept[group.name] == group.channels for group in self.groups):
            # Where no channel goes, nothing chooses one.
            pruner = None
        options: tuple[tuple[str, int, str, int], ...] = ()
        if not self._options.isdisjoint(params):
            options = tuple(
                (layer.name, layer.out_channels, layer.w_scheme, layer.zeros)
                for layer in self.apply(params)
                if layer.name not in self._layers or layer.w_scheme != UNIFORM or layer.zeros
            )
        # What these do in a trial is theirs to know, so that each value is another network.
        further = tuple(
            (key, repr(params[key]))
            for key, kind in self._further.items()
            if key in params and not kind.is_neutral(params[key])
        )
        if further:
            return (*plain, options, pruner, further)
        return (*plain, options, pruner) if options or pruner else plain

    def apply(self, params: Params) -> tuple[Layer, ...]:
        """Return the layers of the pruned and quantized network, in order.

        Raises:
            ValueError: as `kept` and `bits`, another gene that is out of its range, or channels
                that cannot be followed through the graph.
        """
        if self.is_cut:
            return self._apply_cuts(params)
        kept = self.kept(params)
        bits = self.bits(params)
        shapes: dict[str, Shape] = dict(self.input_shapes)
        before: dict[str, Shape] = dict(self.input_shapes)
        out: list[Layer] = []
        for layer in self.layers:
            group = self._group_of.get(layer.name)
            in_shape, out_shape, groups = propagate(
                layer,
                [shapes[i] for i in layer.inputs],
                [before[i] for i in layer.inputs],
                None if group is None else kept[group],
            )
            w_bits, a_bits = bits.get(layer.name, (layer.w_bits, layer.a_bits))
            shapes[layer.name], before[layer.name] = out_shape, layer.out_shape
            out.append(
                changed(
                    layer, op=operator_left(layer, in_shape, out_shape, groups), in_shape=in_shape,
                    out_shape=out_shape, groups=groups, w_bits=w_bits, a_bits=a_bits,
                )
            )  # fmt: skip
        return self._finished(out, params)

    def _apply_cuts(self, params: Params) -> tuple[Layer, ...]:
        removed = self.removed(params)
        bits = self.bits(params)
        out: list[Layer] = []
        for layer in self.layers:
            in_shape, out_shape, groups, numbers = cut(layer, removed)
            w_bits, a_bits = bits.get(layer.name, (layer.w_bits, layer.a_bits))
            out.append(
                changed(
                    layer, op=operator_left(layer, in_shape, out_shape, groups), in_shape=in_shape,
                    out_shape=out_shape, groups=groups, w_bits=w_bits, a_bits=a_bits,
                    params=numbers,
                )
            )  # fmt: skip
        return self._finished(out, params)

    def _finished(self, layers: list[Layer], params: Params) -> tuple[Layer, ...]:
        read_pruner(params)
        return tuple(layers) if self._options.isdisjoint(params) else self._refined(layers, params)

    def removed(self, params: Params) -> dict[str, int]:
        """Blocks of `step` channels that each group loses.

        Raises:
            ValueError: as `kept`.
        """
        kept = self.kept(params)
        return {g.name: (g.channels - kept[g.name]) // g.step for g in self.groups}

    @cached_property
    def is_cut(self) -> bool:
        """Whether its layers say themselves how their sizes follow the channel groups."""
        return any(layer.cuts for layer in self.layers)

    def _refined(self, layers: list[Layer], params: Params) -> tuple[Layer, ...]:
        """The schemes, zeros, factors and more that a chromosome asks for, on pruned layers."""
        for kind in self._kinds:
            if kind.change is not None:
                for i, value in self._values(kind, layers, params).items():
                    layers[i] = kind.change(layers[i], value)
        rewritten: Sequence[Layer] = layers
        for kind in self._kinds:
            if kind.rewrite is not None:
                values = self._values(kind, layers, params)
                named = {layers[i].name: value for i, value in values.items()}
                rewritten = kind.rewrite(rewritten, named)
        return tuple(rewritten)

    def _values(self, kind: GeneKind, layers: Sequence[Layer], params: Params) -> dict[int, object]:
        """Checked values of a kind's genes by the index of each layer that follows them."""
        found: dict[int, object] = {}
        for i, layer in enumerate(layers):
            carrier = self._owner.get(layer.name)
            if kind.scope == "group":
                carrier = self._group_of.get(layer.name)
            key = "" if carrier is None else kind.key(carrier)
            if key in params:
                found[i] = kind.check(params[key], key)
        return found

    def to_json(self) -> str:
        """Return the network as JSON text, the same for equal networks."""
        data = {
            "format": FORMAT,
            "name": self.name,
            "channel_multiple": self.channel_multiple,
            "metadata": self.metadata,
            "layers": [as_dict(layer) for layer in self.layers],
            "groups": [asdict(group) for group in self.groups],
        }
        if self.costs_version != FIRST:
            data["costs_version"] = self.costs_version
        if self.allowed:
            data["allowed"] = {key: list(values) for key, values in self.allowed.items()}
        return written(data)

    @classmethod
    def from_json(cls, text: str) -> Network:
        """Rebuild a network from `to_json`.

        Raises:
            ValueError: no network JSON, another format, or contents that do not fit together.
        """
        data = read_json(text)
        return cls(
            parts_of(Layer, data["layers"], "layers"),
            parts_of(ChannelGroup, data["groups"], "groups"),
            name=data["name"],
            channel_multiple=data["channel_multiple"],
            metadata=data["metadata"],
            allowed=data.get("allowed"),
            costs_version=data.get("costs_version", FIRST),
        )

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """Read a file written by `save`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: as `from_json`, with the path in the message.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.layers, self.groups))

    def __repr__(self) -> str:
        return f"Network({self.name!r}, {len(self.layers)} layers, {len(self.groups)} groups)"
