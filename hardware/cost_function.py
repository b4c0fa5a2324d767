"""Costs of chromosomes of one network, fast: what a layer adds to them is worked out once.

A layer's share depends on the shapes of its inputs, on its own kept channels and bits alone, and
a search meets the same ones all the time. The sums are the same as in `costs.estimate`, to the
last digit: integers, and cycles added by `math.fsum`, which rounds once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from hardware.costs import Costs, estimate, layer_flash, scratch_bytes, unique
from hardware.device import Device
from hardware.ir.gene_kinds import A_BITS, PRUNE, PRUNER, SPARSITY, W_BITS, W_SCHEME
from hardware.ir.gene_kinds.pruner import read_pruner
from hardware.ir.gene_kinds.registry import Params
from hardware.ir.gene_kinds.sparsity import read_sparsity
from hardware.ir.gene_kinds.weight_bits import UNCOMPRESSED_BITS
from hardware.ir.gene_kinds.weight_scheme import read_scheme
from hardware.ir.layer import UNIFORM, Layer, Shape
from hardware.ir.network import Network
from hardware.ir.shape_inference import operator_left, propagate
from hardware.latency.cycles import cycles_of
from hardware.memory.planner import Planner, Tensor, skeleton
from hardware.memory.weight_packing import tensor_bytes

_REMEMBERED_MAX = 20_000
"""Variants of a layer that are remembered before all are forgotten: some 10 MB."""


_Form = tuple[int, int] | tuple[int, int, str, float]
"""Bits of weights and activations; with their scheme and sparsity where a chromosome has these."""


class _Terms(NamedTuple):
    """What one variant of a layer adds; `shape` numbers its output among the layer's own."""

    shape: int
    flash: int
    cycles: float
    macs: int
    bops: int
    scratch: int


class _Variants:
    """All variants of a layer that were met, by shapes of the inputs, kept channels and bits.

    Attributes:
        sources: indices of the producing layers; below 0 for inputs of the network.
        group: name of the layer's channel group, if it is in one.
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
        self.sources = [index.get(name, -1) for name in layer.inputs]
        self.group = next((g.name for g in network.groups if layer.name in g.layers), "")
        self.owner = owner
        self.bits = (layer.w_bits, layer.a_bits)
        self.before = [
            network.layer(name).out_shape if name in index else network.input_shapes[name]
            for name in layer.inputs
        ]
        self.shapes: dict[Shape, int] = {}
        self.known: dict[Hashable, _Terms] = {}

    def add(self, key: Hashable, inputs: list[Shape], kept: int | None, form: _Form) -> _Terms:
        """Work out a variant and remember it.

        Raises:
            ValueError: the layer cannot have these channels or bits.
        """
        in_shape, out_shape, groups = propagate(self.layer, inputs, self.before, kept)
        layer = object.__new__(Layer)  # its fields were checked when the network was made
        layer.__dict__.update(
            self.layer.__dict__, op=operator_left(self.layer, in_shape, out_shape, groups),
            in_shape=in_shape, out_shape=out_shape, groups=groups, w_bits=form[0], a_bits=form[1],
        )  # fmt: skip
        if len(form) == 4:
            layer.__dict__.update(w_scheme=form[2], sparsity=form[3])
        device, macs = self.device, layer.macs
        if layer.is_weighted:
            device.check_bits(form[0], form[1])
        if len(self.known) >= _REMEMBERED_MAX:
            self.known.clear()
        self.known[key] = terms = _Terms(
            shape=self.shapes.setdefault(out_shape, len(self.shapes)),
            flash=layer_flash(layer, device).total if self.stored else 0,
            cycles=0.0 if self.free else cycles_of(layer, device.core, device.runtime),
            macs=macs,
            bops=macs * form[0] * form[1],
            scratch=scratch_bytes(layer, device),
        )
        return terms


class _Bytes:
    """Bytes of a tensor by its shape and by the bits of those who read it.

    Attributes:
        producer: index of the layer that writes it; below 0 for an input of the network.
        readers: owners of the bits of the weighted layers that read it.
        least: the bits that it has anyway.
    """

    def __init__(self, network: Network, tensor: Tensor, owners: Mapping[str, str]) -> None:
        readers = [network.layers[i] for i in tensor.readers]
        self.producer = tensor.producer
        self.shape = None if tensor.producer >= 0 else network.input_shapes[tensor.name]
        self.readers = [owners[layer.name] for layer in readers if layer.is_weighted]
        wide = [layer.a_bits for layer in readers if not layer.is_weighted]
        self.least = max([*wide, *([8] if tensor.is_output or not readers else [])], default=0)
        self.known: dict[tuple[int, int], int] = {}


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
        self.device = device
        estimate(network.layers, device)
        stored = {layer.name for layer in unique(network.layers)}
        fused, tensors = skeleton(network.layers)
        owners = network.owners
        self._layers = [
            _Variants(network, x, owners.get(x.name, ""), device, x.name in stored, x.name in fused)
            for x in network.layers
        ]
        self._tensors = [_Bytes(network, tensor, owners) for tensor in tensors]
        # Pruning may leave another operator than it found: of some variants the scratch is 0 bytes.
        self._scratch = [i for i, x in enumerate(network.layers) if x.is_weighted]
        self._planner = Planner(
            [(tensor.first, tensor.last) for tensor in tensors]
            + [(step, step) for step in self._scratch]
        )
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
        self._plain = {gene.key for gene in genes} | {"uid"}
        self._form_keys = {n: (W_SCHEME.key(n), SPARSITY.key(n)) for n in network.gene_layers}
        self._formed = {key for keys in self._form_keys.values() for key in keys}
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
        found: list[_Terms] = []
        for one in self._layers:
            numbers = tuple([found[i].shape if i >= 0 else 0 for i in one.sources])
            key = (numbers, kept.get(one.group), forms[one.owner] if one.owner else one.bits)
            found.append(one.known.get(key) or self._add(one, *key))
        sizes = []
        for tensor in self._tensors:
            wide = tensor.least
            for owner in tensor.readers:
                wide = max(wide, bits[owner][1])
            number = found[tensor.producer].shape if tensor.producer >= 0 else 0
            sizes.append(self._bytes(tensor, number, wide))
        sizes += [found[i].scratch for i in self._scratch]
        return self._sum(found, self._planner.place(sizes)[1])

    def _by_columns(self, members: Sequence[Params]) -> list[dict[str, float]]:
        """Costs from remembered parts, column by column: a list holds one value per member."""
        nothing = [None] * len(members)
        kept = {name: gene.column(members) for name, gene in self._kept.items()}
        bits = {name: (w.column(members), a.column(members)) for name, (w, a) in self._bits.items()}
        pairs = {name: list(zip(*columns, strict=True)) for name, columns in bits.items()}
        first = [0] * len(members)
        numbers: list[list[int]] = []
        found: list[list[_Terms]] = []
        for one in self._layers:
            sources = [numbers[i] if i >= 0 else first for i in one.sources]
            shapes = list(zip(*sources, strict=True))
            chosen = pairs[one.owner] if one.owner else [one.bits] * len(members)
            keys = list(zip(shapes, kept.get(one.group, nothing), chosen, strict=True))
            try:
                terms = [one.known[key] for key in keys]
            except KeyError:
                terms = [one.known.get(key) or self._add(one, *key) for key in keys]
            found.append(terms)
            numbers.append([t[0] for t in terms])
        sizes = []
        for tensor in self._tensors:
            columns = [[tensor.least] * len(members)]
            columns += [bits[owner][1] for owner in tensor.readers]
            wide = map(max, *columns) if tensor.readers else columns[0]
            shape = numbers[tensor.producer] if tensor.producer >= 0 else first
            sizes.append([self._bytes(tensor, s, w) for s, w in zip(shape, wide, strict=True)])
        sizes += [[t.scratch for t in found[i]] for i in self._scratch]
        arenas = [self._planner.place(column)[1] for column in zip(*sizes, strict=True)]
        return [
            self._sum(terms, arena)
            for terms, arena in zip(zip(*found, strict=True), arenas, strict=True)
        ]

    def _add(self, one: _Variants, numbers: Sequence[int], kept: int | None, form: _Form) -> _Terms:
        shapes = [
            list(self._layers[i].shapes)[number] if i >= 0 else before
            for i, number, before in zip(one.sources, numbers, one.before, strict=True)
        ]
        return one.add((tuple(numbers), kept, form), shapes, kept, form)

    def _bytes(self, tensor: _Bytes, number: int, bits: int) -> int:
        """Bytes of a tensor; `number` is that of its shape among its producer's."""
        size = tensor.known.get((number, bits))
        if size is None:
            shape = tensor.shape or list(self._layers[tensor.producer].shapes)[number]
            size = tensor.known[number, bits] = tensor_bytes(shape, bits)
        return size

    def _sum(self, terms: Sequence[_Terms], arena: int) -> dict[str, float]:
        _, flash, cycles, macs, bops, _ = zip(*terms, strict=True)
        return Costs.of(
            sum(flash), arena, math.fsum(cycles), sum(macs), sum(bops), self.device
        ).as_dict()


def _kept(network: Network, group: str, params: Params) -> int:
    return network.kept(params)[group]


def _bits(network: Network, layer: str, which: int, params: Params) -> int:
    return network.bits(params)[layer][which]


def cost_function(network: Network, device: Device) -> CostFunction:
    """Return a callable from trial parameters to `{metric: value}`.

    Raises:
        ValueError: an operator of the network has no cost model on the device.
    """
    return CostFunction(network, device)
