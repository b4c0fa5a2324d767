"""Genomes as rows of numbers for a predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ga.arrays import Array
from ga.problem.genes import Categorical, Integer, Ordered
from ga.problem.search_space import Genome, Locus, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.gaussian_process import EFFECT

# Genes of one family (same kind, or same list of values) get summary columns from this many on.
# This number and the next two are choices; not tuned one by one.
_FAMILY = 3
# A loss of quality below which sensitivities are alike.
_SLIGHT = 0.01
# Up to this many loci each has a relevance of its own; more could not be told from few results.
_SHORT = 16
# Rows that are kept; beyond that they are all made anew. Bounds memory; a choice.
_MOST_RECENT = 2048


class Features:
    """Unit coordinates, one-hot categories, summaries over layers, sensitivities and costs.

    Genes of a compression get a coordinate in which equal steps hurt about alike (see
    `_hardship`). The summaries (mean of a kind over all layers, how often a category occurs) say in
    one column what a tree would need many splits for. Sensitivities give a first guess at the loss
    of quality, for each kind and for all of them: the logarithm of the sum of what each gene's
    value costs alone. If one number is known for each layer it is, for each kind, how far the
    layers' genes are turned down times that number.

    Args:
        space: the search space.
        sensitivities: losses of quality when one layer alone is compressed.
    """

    def __init__(self, space: SearchSpace, sensitivities: Sensitivities) -> None:
        self._space = space
        self._indexed = {
            i: locus.gene.size or 1
            for i, locus in enumerate(space.loci)
            if isinstance(locus.gene, (Ordered, Categorical, Integer))
        }
        families: dict[object, list[int]] = {}
        for i, locus in enumerate(space.loci):
            gene = locus.gene
            label = (
                (locus.kind,) if gene.numeric else (type(gene), repr(getattr(gene, "values", 0)))
            )
            families.setdefault(label, []).append(i)
        self._families = [loci for loci in families.values() if len(loci) >= _FAMILY]
        loci = list(enumerate(space.loci))
        self._numeric = [i for i, locus in loci if locus.gene.numeric]
        self._named = [i for i, locus in loci if not locus.gene.numeric]
        self._measured = [i for i in range(len(loci)) if i not in self._indexed]
        self._nested = [i for i, locus in loci if locus.parent >= 0]
        self._hardships = {
            i: table
            for i, locus in enumerate(space.loci)
            if (table := _hardship(locus)) is not None
        }
        units = {i: (np.arange(size) + 0.5) / size for i, size in self._indexed.items()}
        self._units = _Lookup({**units, **self._hardships})
        self._weights: dict[int, float] = {}
        self._losses: dict[int, Array] = {}
        for i, locus in enumerate(space.loci):
            gene = locus.gene
            if sensitivities.genes:
                if isinstance(gene, Ordered) and gene.name in sensitivities.genes:
                    values = np.array(gene.values, dtype=float)
                    self._losses[i] = sensitivities.losses(gene.name, values)
            elif gene.numeric and locus.group in sensitivities.layers:
                self._weights[i] = sensitivities.layers[locus.group]
        self._lost = _Lookup(self._losses)
        by_kind: dict[str, list[int]] = {}
        for place, i in enumerate(self._weights or self._losses):
            by_kind.setdefault(space.loci[i].kind, []).append(place)
        self._by_kind = list(by_kind.values())

    @property
    def has_effects(self) -> bool:
        """Whether losses of genes were measured."""
        return bool(self._losses)

    def groups(self, costs: int) -> list[int]:
        """The group of each column of `rows`: columns that matter alike to a predictor.

        One for each locus of a short chromosome, for each kind of gene of a long one, one for all
        summaries, one for the costs. Measured losses come last, in the group `EFFECT`.

        Args:
            costs: number of known costs.
        """
        kinds: dict[object, int] = {}
        short = len(self._space) <= _SHORT
        own = [
            kinds.setdefault(i if short else locus.kind, len(kinds))
            for i, locus in enumerate(self._space.loci)
        ]
        loci = list(enumerate(self._space.loci))
        columns = [own[i] for i, locus in loci if locus.gene.numeric]
        for i, locus in loci:
            if not locus.gene.numeric:
                columns += [own[i]] * self._indexed[i]
        rest = [
            self._indexed[f[0]] if not loci[f[0]][1].gene.numeric else 1 for f in self._families
        ]
        guesses = len({self._space.loci[i].kind for i in (self._weights or self._losses)})
        guesses += bool(self._losses)
        columns += [len(kinds)] * (sum(rest) + guesses)
        return columns + [len(kinds) + 1] * costs + [EFFECT] * len(self._losses)

    def rows(
        self,
        genomes: Sequence[Genome],
        costs: Sequence[Mapping[str, float]],
        names: Sequence[str] = (),
    ) -> Array:
        """A matrix with one row per genome.

        Args:
            genomes: n genomes.
            costs: their known costs; a missing one becomes the mean of the others.
            names: which of the costs get a column.
        """
        alleles = np.array(genomes, dtype=float).reshape(len(genomes), len(self._space))
        active = self._active(alleles)
        chosen = alleles.astype(int)
        units = np.empty_like(alleles)
        units[:, self._units.loci] = self._units.of(chosen)
        for i in self._measured:
            gene = self._space.loci[i].gene
            units[:, i] = [gene.to_unit(a) for a in alleles[:, i]]
        units = np.where(active, units, -1.0)
        columns = [units[:, self._numeric]]
        hot: dict[int, Array] = {}
        for i in self._named:
            hot[i] = (alleles[:, i, None] == np.arange(self._indexed[i])) * active[:, i, None]
            columns.append(hot[i])
        for family in self._families:
            if family[0] in hot:
                columns.append(np.mean([hot[i] for i in family], axis=0))
            else:
                columns.append(units[:, family].mean(axis=1, keepdims=True))
        lost = self._lost.of(chosen)
        columns += self._guesses(lost, units)
        columns.append(_cost_columns(costs, names))
        columns.append(lost)
        return np.asarray(np.hstack(columns))

    def _active(self, alleles: Array) -> NDArray[np.bool_]:
        active = np.ones(alleles.shape, dtype=bool)
        for i in self._nested:
            locus = self._space.loci[i]
            active[:, i] = active[:, locus.parent] & (alleles[:, locus.parent] == locus.option)
        return active

    def _guesses(self, lost: Array, units: Array) -> list[Array]:
        """A column for each kind, and one for all: what sensitivities say of the loss."""
        if self._weights:
            shares = units[:, list(self._weights)] * np.array(list(self._weights.values()))
            return [_summed(shares[:, places]) for places in self._by_kind]
        sums = [_summed(lost[:, places]) for places in self._by_kind]
        return [np.log(_SLIGHT + total) for total in (*sums, sum(sums))] if sums else []


class RecentRows:
    """Rows of genomes that are asked about again and again: of results and of those in flight.

    Args:
        features: how a genome becomes a row.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        self._names: tuple[str, ...] = ()
        self._found: dict[Genome, tuple[Mapping[str, float], Array]] = {}

    def rows(
        self,
        genomes: Sequence[Genome],
        costs: Sequence[Mapping[str, float]],
        names: Sequence[str] = (),
    ) -> Array:
        """As `Features.rows`, to the last bit."""
        if self._names != tuple(names) or len(self._found) > _MOST_RECENT:
            self._names, self._found = tuple(names), {}
        wanted = {*names}
        # A row on its own is summed in another order than many are, and one without a cost depends
        # on the others.
        if len(genomes) < 2 or not all(wanted <= cost.keys() for cost in costs):
            return self._features.rows(genomes, costs, names)
        fresh = {
            genome: cost
            for genome, cost in zip(genomes, costs, strict=True)
            if genome not in self._found or self._found[genome][0] != cost
        }
        if fresh:
            listed, twice = [*fresh], 1 + (len(fresh) == 1)
            found = self._features.rows(listed * twice, [*fresh.values()] * twice, names)
            self._found.update(zip(listed, zip(fresh.values(), found, strict=False), strict=True))
        return np.array([self._found[genome][1] for genome in genomes])


class _Lookup:
    """A table of numbers for the alleles of some loci.

    Args:
        tables: locus -> one number for each of its alleles.

    Attributes:
        loci: in the order of the columns of `of`.
    """

    def __init__(self, tables: Mapping[int, Array]) -> None:
        self.loci = list(tables)
        self._places = np.arange(len(tables))
        self._table = np.zeros((len(tables), max(map(len, tables.values()), default=0)))
        for row, table in enumerate(tables.values()):
            self._table[row, : len(table)] = table

    def of(self, alleles: NDArray[np.int_]) -> Array:
        """Numbers of the loci's alleles: genomes x loci."""
        return np.asarray(self._table[self._places, alleles[:, self.loci]])


def _summed(columns: Array) -> Array:
    """The sum of columns, added one after the other whatever their number."""
    return np.cumsum(columns, axis=1)[:, -1:]


def _hardship(locus: Locus) -> Array | None:
    """How hard each value of a compression's gene is on the network, in [0, 1]; None for others."""
    gene, traits = locus.gene, locus.traits
    if not isinstance(gene, Ordered) or not gene.numeric or traits is None:
        return None
    raw = traits.hardship(np.array(gene.values, dtype=float)) if traits.hardship else None
    if raw is None:
        return None
    span = float(np.ptp(raw))
    return np.asarray((raw - raw.min()) / span if span > 0 else np.zeros(len(raw)))


def _cost_columns(costs: Sequence[Mapping[str, float]], names: Sequence[str]) -> Array:
    table = np.array([[row.get(name, np.nan) for name in names] for row in costs], dtype=float)
    table = table.reshape(len(costs), len(names))
    # Costs span orders of magnitude; a Gaussian process sees them better on a logarithm.
    table = np.sign(table) * np.log1p(np.abs(table))
    missing = np.isnan(table)
    if missing.any():
        there = np.maximum((~missing).sum(axis=0), 1)
        table = np.where(missing, np.nansum(table, axis=0) / there, table)
    return np.asarray(table)
