"""Costs of chromosomes of one network, fast: what a layer adds to them is worked out once.

A layer's share depends on the shapes of its inputs, on its own kept channels and bits alone, and
a search meets the same ones all the time. The sums are the same as in `costs.estimate`, to the
last digit: integers, and cycles added by `math.fsum`, which rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from hardware.costs import Costs, Terms, estimate, layer_terms, unique
from hardware.device import Device
from hardware.ir.gene_kinds import A_BITS, PRUNE, PRUNER, SPARSITY, W_BITS, W_SCHEME
from hardware.ir.gene_kinds.pruner import read_pruner
from hardware.ir.gene_kinds.registry import Params
from hardware.ir.gene_kinds.sparsity import read_sparsity
from hardware.ir.gene_kinds.weight_bits import UNCOMPRESSED_BITS
from hardware.ir.gene_kinds.weight_scheme import read_scheme
from hardware.ir.layer import UNIFORM, WEIGHTED_OPS, Layer, Shape
from hardware.ir.network import Network
from hardware.ir.shape_inference import cut, operator_left, propagate
from hardware.memory.arena import arena_of
from hardware.memory.planner import Planner, Tensor, skeleton

_REMEMBERED_MAX = 20_000
"""Variants of a layer that are remembered before all are forgotten: some 10 MB."""


_Form = tuple[int, int] | tuple[int, int, str, float]
"""Bits of weights and activations; with their scheme and sparsity where a chromosome has these."""


class _Variant(NamedTuple):
    """One variant of a layer: the number of its output's shape among the layer's own, and costs."""

    shape: int
    terms: Terms


class _Variants:
    """All variants of a layer that were met, by shapes of the inputs, kept channels and bits.

    Attributes:
        sources: indices of the producing layers; below 0 for inputs of the network.
        groups: names of the channel groups that its sizes follow, beside those of its inputs.
        owner: layer whose bit genes it follows; empty for an operator without weights.
        bits: its bits if it follows none.
    """

    def __init__(
        self,
        network: Network,
        layer: Layer,
        owner: str,
        device: Device,
        stored: bool,
        free: bool,
    ) -> None:
        index = {x.name: i for i, x in enumerate(network.layers)}
        self.layer, self.device, self.stored, self.free = layer, device, stored, free
        self.cut = network.is_cut
        self.steps = {g.name: (g.channels, g.step) for g in network.groups}
        self.sources = [] if self.cut else [index.get(name, -1) for name in layer.inputs]
        own = [g.name for g in network.groups if layer.name in g.layers]
        self.groups = tuple(dict.fromkeys(c.group for c in layer.cuts)) if self.cut else tuple(own)
        self.owner = owner
        self.bits = (layer.w_bits, layer.a_bits)
        self.before = [
            network.layer(name).out_shape if name in index else network.input_shapes[name]
            for name in ([] if self.cut else layer.inputs)
        ]
        self.shapes: dict[Shape, int] = {}
        self.made: list[Shape] = []
        self.known: dict[Hashable, _Variant] = {}

    def add(
        self, key: Hashable, inputs: list[Shape], kept: tuple[int, ...], form: _Form
    ) -> _Variant:
        """Work out a variant and remember it.

        Raises:
            ValueError: the layer cannot have these channels or bits.
        """
        in_shape, out_shape, groups, params = self._sizes(inputs, kept)
        layer = object.__new__(Layer)  # its fields were checked when the network was made
        layer.__dict__.update(
            self.layer.__dict__, op=operator_left(self.layer, in_shape, out_shape, groups),
            in_shape=in_shape, out_shape=out_shape, groups=groups, w_bits=form[0], a_bits=form[1],
            params=params,
        )  # fmt: skip
        if len(form) == 4:
            layer.__dict__.update(w_scheme=form[2], sparsity=form[3])
        terms = layer_terms(layer, self.device, stored=self.stored, free=self.free)
        if len(self.known) >= _REMEMBERED_MAX:
            self.known.clear()
        number = self.shapes.setdefault(out_shape, len(self.shapes))
        if number == len(self.made):
            self.made.append(out_shape)
        self.known[key] = found = _Variant(number, terms)
        return found

    def _sizes(self, inputs: list[Shape], kept: tuple[int, ...]) -> tuple[Shape, Shape, int, int]:
        if not self.cut:
            own = kept[0] if kept else None
            return *propagate(self.layer, inputs, self.before, own), self.layer.params
        removed = {}
        for group, count in zip(self.groups, kept, strict=True):
            channels, step = self.steps[group]
            removed[group] = (channels - count) // step
        return cut(self.layer, removed)


class _Gene:
    """Reads one gene of many chromosomes; what a value means is looked up once."""

    def __init__(self, key: str, default: float, read: Callable[[Params], int]) -> None:
        self.key, self.default, self.read = key, default, read
        self.known: dict[object, int] = {}

    def of(self, params: Params) -> int:
        """Return what the gene says in a chromosome.

        Raises:
            ValueError: a value that it cannot have.
        """
        value = params.get(self.key, self.default)
        found = self.known.get(value)
        if found is None:
            found = self.known[value] = self.read({self.key: value})
        return found

    def column(self, members: Sequence[Params]) -> list[int]:
        """Return what the gene says in each chromosome.

        Raises:
            ValueError: a value that it cannot have.
        """
        key, known, default = self.key, self.known, self.default
        try:
            return [known[params.get(key, default)] for params in members]
        except KeyError:
            return [self.of(params) for params in members]


class CostFunction:
    """Costs of a chromosome on a device: what the tuner computes and every trial reports.

    Raises:
        ValueError: an operator of the network has no cost model on the device.
    """

    def __init__(self, network: Network, device: Device) -> None:
        self.network = network
        self.device = device = device_of(network, device)
        estimate(network.layers, device)
        stored = {layer.name for layer in unique(network.layers)}
        fused, self._tensors = skeleton(network.layers)
        owners = network.owners
        self._layers = [
            _Variants(network, x, owners.get(x.name, ""), device, x.name in stored, x.name in fused)
            for x in network.layers
        ]
        # Pruning may leave another operator than it found: of some variants the scratch is 0 bytes.
        self._scratch = [i for i, x in enumerate(network.layers) if x.kind in WEIGHTED_OPS]
        self._arena = arena_of(network.layers, device.runtime.memory)
        moments = [self._arena.moment(step) for step in self._scratch]
        self._planner = Planner([*self._arena.spans, *((now, now) for now in moments)])
        self._owners = [(x.a_bits, owners.get(x.name, "")) for x in network.layers]
        self._kept = {
            group.name: _Gene(PRUNE.key(group.name), 0.0, partial(_kept, network, group.name))
            for group in network.groups
        }
        self._bits = {
            name: tuple(
                _Gene(kind.key(name), UNCOMPRESSED_BITS, partial(_bits, network, name, k))
                for k, kind in enumerate((W_BITS, A_BITS))
            )
            for name in network.gene_layers
        }
        genes = [*self._kept.values(), *(gene for pair in self._bits.values() for gene in pair)]
        carried = {A_BITS.key(n) for n in network.carriers(A_BITS)}
        known = {gene.key for gene in genes if not A_BITS.owns(gene.key)}
        self._plain = known | carried | {"uid"}
        self._form_keys = {n: (W_SCHEME.key(n), SPARSITY.key(n)) for n in network.gene_layers}
        self._formed = {k.key(n) for k in (W_SCHEME, SPARSITY) for n in network.carriers(k)}
        self._single = self._plain | self._formed | {PRUNER.name}

    def __call__(self, params: Params) -> dict[str, float]:
        """Return the rounded metrics of a chromosome.

        Raises:
            ValueError: a chromosome for another model, or bits that the device cannot run.
        """
        try:
            if self._is_plain(params, self._single):
                return self._one(params)
        except (ValueError, TypeError):
            pass  # the slow way says what is wrong
        return estimate(self.network.apply(params), self.device).as_dict()

    def batch(self, population: Iterable[Params]) -> list[dict[str, float]]:
        """Return the metrics of many chromosomes, each exactly as a single call gives them.

        Raises:
            ValueError: as a single call does.
        """
        members = list(population)
        if not members:
            return []
        try:
            if all(self._is_plain(params, self._plain) for params in members):
                return self._by_columns(members)
        except (ValueError, TypeError):
            pass  # one by one tells the bad one from the good
        return [self(params) for params in members]

    def phenotype(self, params: Params) -> Hashable:
        """Equal for two chromosomes exactly if they make the same network."""
        return self.network.phenotype(params)

    def _is_plain(self, params: Params, genes: set[str]) -> bool:
        """Whether there are no genes but these; `True` would pass for a 1 in what is remembered."""
        return params.keys() <= genes and bool not in map(type, params.values())

    def _forms(self, params: Params, bits: Mapping[str, tuple[int, int]]) -> Mapping[str, _Form]:
        """Bits of each layer with genes, and the scheme and sparsity that a chromosome asks for."""
        read_pruner(params)
        if self._formed.isdisjoint(params):
            return bits
        forms: dict[str, _Form] = {}
        for name, (w, a) in bits.items():
            scheme_key, sparsity_key = self._form_keys[name]
            scheme = read_scheme(params, scheme_key, w)
            sparsity = read_sparsity(params, sparsity_key)
            plain = scheme == UNIFORM and not sparsity
            forms[name] = (w, a) if plain else (w, a, scheme, sparsity)
        return forms

    def _one(self, params: Params) -> dict[str, float]:
        """Costs of one chromosome from remembered parts."""
        kept = {name: gene.of(params) for name, gene in self._kept.items()}
        bits = {name: (w.of(params), a.of(params)) for name, (w, a) in self._bits.items()}
        forms = self._forms(params, bits)
        found: list[_Variant] = []
        for one in self._layers:
            numbers = tuple([found[i].shape if i >= 0 else 0 for i in one.sources])
            left = tuple([kept[group] for group in one.groups])
            key = (numbers, left, forms[one.owner] if one.owner else one.bits)
            found.append(one.known.get(key) or self._add(one, *key))
        a_bits = tuple([bits[owner][1] if owner else own for own, owner in self._owners])
        return self._sum(found, a_bits)

    def _by_columns(self, members: Sequence[Params]) -> list[dict[str, float]]:
        """Costs from remembered parts, column by column: a list holds one value per member."""
        nothing: list[tuple[int, ...]] = [()] * len(members)
        kept = {name: gene.column(members) for name, gene in self._kept.items()}
        bits = {name: (w.column(members), a.column(members)) for name, (w, a) in self._bits.items()}
        pairs = {name: list(zip(*columns, strict=True)) for name, columns in bits.items()}
        first = [0] * len(members)
        numbers: list[list[int]] = []
        found: list[list[_Variant]] = []
        for one in self._layers:
            sources = [numbers[i] if i >= 0 else first for i in one.sources]
            shapes = list(zip(*sources, strict=True)) if sources else nothing
            left = [kept[group] for group in one.groups]
            counts = list(zip(*left, strict=True)) if left else nothing
            chosen = pairs[one.owner] if one.owner else [one.bits] * len(members)
            keys = list(zip(shapes, counts, chosen, strict=True))
            try:
                terms = [one.known[key] for key in keys]
            except KeyError:
                terms = [one.known.get(key) or self._add(one, *key) for key in keys]
            found.append(terms)
            numbers.append([t.shape for t in terms])
        widths = [bits[owner][1] if owner else [own] * len(members) for own, owner in self._owners]
        return [
            self._sum(variants, a_bits)
            for variants, a_bits in zip(
                zip(*found, strict=True), zip(*widths, strict=True), strict=True
            )
        ]

    def _add(
        self, one: _Variants, numbers: Sequence[int], kept: tuple[int, ...], form: _Form
    ) -> _Variant:
        shapes = [
            self._layers[i].made[number] if i >= 0 else before
            for i, number, before in zip(one.sources, numbers, one.before, strict=True)
        ]
        return one.add((tuple(numbers), kept, form), shapes, kept, form)

    def _sum(self, found: Sequence[_Variant], a_bits: tuple[int, ...]) -> dict[str, float]:
        shapes = [self._shape(tensor, found) for tensor in self._tensors]
        terms = [one.terms for one in found]
        sizes = self._arena.sizes(shapes, a_bits) + [terms[i].scratch for i in self._scratch]
        copied = self._arena.copied(shapes, a_bits)
        narrow = self._arena.narrow(shapes, a_bits)
        places = self._planner.place(sizes)[1]
        return Costs.of(terms, places, copied, narrow, self.device).as_dict()

    def _shape(self, tensor: Tensor, found: Sequence[_Variant]) -> Shape:
        if tensor.producer < 0:
            return self.network.input_shapes[tensor.name]
        return self._layers[tensor.producer].made[found[tensor.producer].shape]


def _kept(network: Network, group: str, params: Params) -> int:
    return network.kept(params)[group]


def _bits(network: Network, layer: str, which: int, params: Params) -> int:
    return network.bits(params)[layer][which]


def device_of(network: Network, device: Device) -> Device:
    """Return the device with the costs that an experiment began with, as its network file says.

    A stack that was asked for by name stays.

    Raises:
        ValueError: the device has no such stack any more.
    """
    same = network.metadata.get("device") == device.id
    stack = network.metadata.get("stack") if same else None
    return device.as_began(network.costs_version, stack if isinstance(stack, str) else None)


def cost_function(network: Network, device: Device) -> CostFunction:
    """Return a callable from trial parameters to `{metric: value}`.

    The costs are those of `device_of`, also where a newer version goes on with an experiment.

    Raises:
        ValueError: an operator of the network has no cost model on the device.
    """
    return CostFunction(network, device)
