"""The search space: genes in a fixed order, some of them conditional on a nested choice."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import getitem
from typing import Any

from ga.problem.finite import shortened
from ga.problem.gene_traits import BUILT_IN, GeneTraits
from ga.problem.genes import Allele, Categorical, Gene, Ordered, flatten_groups

Genome = tuple[Allele, ...]
#: The parameters that a trial gets: whatever values the genes have.
Params = dict[str, Any]

# From this many genes of one kind on, independent draws all look alike on average (the sum
# concentrates), so samples share a level; see `SearchSpace.sample`. How many,
# and how wide samples scatter about the level, are choices; not tuned.
_CROWD = 6
_LEVEL_SPREAD = 0.5


@dataclass(frozen=True)
class Locus:
    """A gene's place in the chromosome.

    Attributes:
        gene: the gene.
        path: keys and chosen option names from the top, for labels and features.
        parent: index of the nested gene that it hangs on, -1 at the top level.
        option: the allele of the parent that brings this gene into play.
        group: the layer; crossover hands a group on as a whole.
        kind: the last part of the key, e.g. `w_bits`; genes of one kind are comparable.
        traits: what is known of its kind; None if nothing is.
    """

    gene: Gene
    path: str
    parent: int
    option: int
    group: str
    kind: str
    traits: GeneTraits | None = None


class SearchSpace:
    """All chromosomes.

    A genome is a tuple with one allele for every locus, also for those whose nested choice is not
    taken (they stay silent and are inherited); a decoded parameter dict holds the active ones.

    Args:
        genes: top-level genes, with unique names.
        traits: kind (the last part of a gene's name) -> what the search takes for granted of it,
            beside the kinds of a network's compression, which are known.

    Raises:
        ValueError: no genes, or a name twice.
    """

    def __init__(
        self, genes: Iterable[Gene], traits: Mapping[str, GeneTraits] | None = None
    ) -> None:
        self.genes = tuple(genes)
        self.traits = {**BUILT_IN, **(traits or {})}
        if not self.genes:
            raise ValueError("the search space has no gene: there is nothing to search")
        self.loci: tuple[Locus, ...] = tuple(self._lay_out(self.genes))
        groups: dict[str, list[int]] = {}
        for index, locus in enumerate(self.loci):
            groups.setdefault(locus.group, []).append(index)
        self.groups: tuple[tuple[int, ...], ...] = tuple(tuple(g) for g in groups.values())
        self._conditional = any(locus.parent >= 0 for locus in self.loci)
        #: Loci with more than one allele, and those whose alleles crossover may blend.
        self.variable = tuple(i for i, locus in enumerate(self.loci) if locus.gene.size != 1)
        self.blendable = tuple(
            i
            for group in self.groups
            for i in group
            if self.loci[i].gene.numeric and not isinstance(self.loci[i].gene, Ordered)
        )
        # Decoding is the inner loop of a search: flat spaces of listed values get a short way.
        listed = [
            (locus.gene.name, locus.gene.values)
            for locus in self.loci
            if isinstance(locus.gene, (Ordered, Categorical))
            and not getattr(locus.gene, "children", ())
        ]
        self._is_listed = len(listed) == len(self.loci)
        self._names = [name for name, _ in listed]
        self._values = [values for _, values in listed]
        self._sizes = [len(values) for values in self._values]
        kinds: dict[str, list[int]] = {}
        for index, locus in enumerate(self.loci):
            if locus.gene.numeric:
                kinds.setdefault(locus.kind, []).append(index)
        #: Kinds with many numeric genes, the layers' genes of a deep network, and their loci.
        self.crowds = {kind: loci for kind, loci in kinds.items() if len(loci) >= _CROWD}
        self.crowded_kinds = list(self.crowds)

    def __len__(self) -> int:
        return len(self.loci)

    def __repr__(self) -> str:
        return f"SearchSpace({len(self)} genes, {len(self.groups)} layers, {self.size_text()})"

    def size_text(self) -> str:
        """The number of chromosomes in words."""
        total = self.cardinality
        return "no end of chromosomes" if total is None else f"{total:.3g} chromosomes"

    def _lay_out(self, genes: tuple[Gene, ...]) -> list[Locus]:
        loci: list[Locus] = []

        def place(level: tuple[Gene, ...], prefix: str, parent: int, option: int, top: str) -> None:
            names = [gene.name for gene in level]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"two genes are named {prefix + name!r}: names must differ")
            for gene, group in zip(level, flatten_groups(names), strict=True):
                group = top or group
                kind = gene.name.rsplit(".", 1)[-1]
                here = len(loci)
                traits = self.traits.get(kind)
                loci.append(Locus(gene, prefix + gene.name, parent, option, group, kind, traits))
                if isinstance(gene, Categorical):
                    for index, children in enumerate(gene.children):
                        inner = f"{prefix}{gene.name}/{gene.values[index]}/"
                        place(children, inner, here, index, group)

        place(genes, "", -1, -1, "")
        return loci

    # ---- counting

    @property
    def cardinality(self) -> int | None:
        """The number of distinct chromosomes; None if a gene is continuous."""
        return _count(self.genes)

    def nth(self, index: int) -> Genome:
        """Chromosome number `index` of a finite space; every index gives another one.

        Raises:
            ValueError: the space is not finite, or the index is outside of it.
        """
        total = self.cardinality
        if total is None or not 0 <= index < total:
            raise ValueError(f"chromosome {index} of a space with {self.size_text()}")
        genome: list[Allele] = [locus.gene.nth(0) for locus in self.loci]
        start = {
            (locus.parent, locus.option): i for i, locus in reversed(list(enumerate(self.loci)))
        }

        def fill(genes: tuple[Gene, ...], at: int, index: int) -> None:
            for gene in genes:
                size = _count((gene,))
                assert size is not None
                index, own = divmod(index, size)
                if isinstance(gene, Categorical) and gene.children:
                    for option, children in enumerate(gene.children):
                        block = _count(children)
                        assert block is not None
                        if own < block:
                            genome[at] = option
                            if children:
                                fill(children, start[at, option], own)
                            break
                        own -= block
                else:
                    genome[at] = gene.nth(own)
                at += _width(gene)

        fill(self.genes, 0, index)
        return tuple(genome)

    # ---- genome <-> parameters

    def active(self, genome: Sequence[Allele]) -> list[bool]:
        """Which loci count: those whose nested choices are all taken."""
        if not self._conditional:
            return [True] * len(self.loci)
        flags: list[bool] = []
        for locus in self.loci:
            parent = locus.parent
            flags.append(parent < 0 or (flags[parent] and genome[parent] == locus.option))
        return flags

    def open_loci(self, genome: Sequence[Allele]) -> Sequence[int]:
        """Loci that count and have more than one allele."""
        if not self._conditional:
            return self.variable
        active = self.active(genome)
        return [i for i in self.variable if active[i]]

    def decode(self, genome: Sequence[Allele]) -> Params:
        """The parameters that a trial gets: nested choices as dicts with `_name`."""
        if len(genome) != len(self.loci):
            raise ValueError(f"a genome here has {len(self.loci)} alleles, got {len(genome)}")
        if self._is_listed:
            try:
                return dict(zip(self._names, map(getitem, self._values, genome), strict=True))
            except TypeError:  # places that are floats
                return self.decode([int(allele) for allele in genome])
        params: Params = {}
        homes: dict[int, Params] = {-1: params}
        flags = self.active(genome)
        for index, locus in enumerate(self.loci):
            if not flags[index]:
                continue
            gene = locus.gene
            value = gene.decode(genome[index])
            if isinstance(gene, Categorical) and gene.children:
                value = homes[index] = {"_name": value}
            homes[locus.parent][gene.name] = value
        return params

    def encode(self, params: Mapping[str, object]) -> Genome:
        """The genome of a parameter dict; silent loci get their first allele.

        Raises:
            ValueError: a missing or unknown key, or a value outside its gene.
        """
        if not isinstance(params, Mapping):
            raise ValueError(f"parameters are a dict, got {shortened(params)}")
        genome: list[Allele] = [locus.gene.nth(0) for locus in self.loci]
        homes: dict[int, Mapping[str, object]] = {-1: params}
        used: dict[int, set[str]] = {-1: set()}
        for index, locus in enumerate(self.loci):
            parent, gene = locus.parent, locus.gene
            if parent >= 0 and (parent not in homes or genome[parent] != locus.option):
                continue
            home = homes[parent]
            if gene.name not in home:
                raise ValueError(f"parameter {locus.path!r} is missing from {shortened(params)}")
            value = home[gene.name]
            used[parent].add(gene.name)
            if isinstance(gene, Categorical) and gene.children:
                if not isinstance(value, Mapping) or "_name" not in value:
                    raise ValueError(
                        f"{locus.path}={shortened(value)} should be a dict with '_name' (a nested "
                        "choice)"
                    )
                homes[index], used[index] = value, {"_name"}
                value = value["_name"]
            genome[index] = gene.encode(value)
        for index, home in homes.items():
            unknown = set(home) - used[index]
            if unknown:
                some = ", ".join(sorted(used[index])[:8])
                raise ValueError(
                    f"parameter {min(map(repr, unknown))} is not in the search space (it has {some}"
                    f"{', ...' if len(used[index]) > 8 else ''})"
                )
        return tuple(genome)

    def settled(self, genome: Sequence[Allele]) -> Genome:
        """The genome with its silent loci as `encode` gives them: at their first allele.

        What they hold is in no result, so that nothing may depend on it that a replay has to give.
        """
        if not self._conditional:
            return tuple(genome)
        return tuple(
            allele if on else locus.gene.nth(0)
            for allele, on, locus in zip(genome, self.active(genome), self.loci, strict=True)
        )

    def awakened(
        self, genome: Sequence[Allele], parents: Sequence[Sequence[Allele]], rng: random.Random
    ) -> Genome:
        """A child of settled parents, whose loci that woke up get an allele that means something.

        Such a locus takes that of a parent in which it counts; it is drawn where it counts in none.

        Args:
            genome: the child.
            parents: the first one's alleles are taken where both have one.
            rng: source of randomness.
        """
        if not self._conditional:
            return tuple(genome)
        known = [(parent, self.active(parent)) for parent in parents]
        child = list(genome)
        for i, locus in enumerate(self.loci):
            if locus.parent < 0 or not self.active(child)[i]:
                continue
            alleles = [parent[i] for parent, flags in known if flags[i]]
            if not alleles:
                child[i] = locus.gene.sample(rng)
            elif len(alleles) < len(parents) and child[i] == locus.gene.nth(0):
                child[i] = alleles[0]
        return tuple(child)

    def key(self, genome: Sequence[Allele]) -> Hashable:
        """Equal for two genomes that decode to equal parameters."""
        if not self._conditional:
            return tuple(genome)
        return tuple(a if on else None for a, on in zip(genome, self.active(genome), strict=True))

    # ---- sampling and distance

    def sample(self, rng: random.Random) -> Genome:
        """A random chromosome.

        Numeric genes are drawn independently in half of the samples. In the other half the genes
        of one kind (`prune`, `w_bits`, ...) scatter around a common random level, if there are
        at least six of them: independent draws over many layers all have nearly the same mean,
        so without a level every random network would be of about the same size.
        """
        if rng.random() < 0.5:
            if self._is_listed:  # the same, without a call for each gene
                draw = rng.random
                return tuple([int(draw() * size) for size in self._sizes])
            return tuple(locus.gene.sample(rng) for locus in self.loci)
        levels: dict[str, float] = {kind: rng.random() for kind in self.crowded_kinds}
        return self.around(levels, rng)

    def around(self, levels: Mapping[str, float], rng: random.Random) -> Genome:
        """A random chromosome whose numeric genes scatter around the level of their kind.

        Args:
            levels: kind -> level in [0, 1]; genes of other kinds are drawn freely.
            rng: source of randomness.
        """
        half = _LEVEL_SPREAD / 2
        ranges = {kind: (max(0.0, at - half), min(1.0, at + half)) for kind, at in levels.items()}
        genome: list[Allele] = []
        for locus in self.loci:
            gene = locus.gene
            if gene.numeric and locus.kind in ranges:
                genome.append(gene.from_unit(rng.uniform(*ranges[locus.kind])))
            else:
                genome.append(gene.sample(rng))
        return tuple(genome)

    def distance(self, a: Sequence[Allele], b: Sequence[Allele]) -> float:
        """Mean difference per gene, in [0, 1]: 0 for equal phenotypes.

        Numeric genes count by the distance of their unit coordinates, categorical ones 0 or 1; a
        gene that only one of the two uses counts 1.
        """
        total, counted = 0.0, 0
        flags_a, flags_b = self.active(a), self.active(b)
        for i, locus in enumerate(self.loci):
            if not flags_a[i] and not flags_b[i]:
                continue
            counted += 1
            if flags_a[i] != flags_b[i]:
                total += 1.0
            elif locus.gene.numeric:
                total += abs(locus.gene.to_unit(a[i]) - locus.gene.to_unit(b[i]))
            else:
                total += float(a[i] != b[i])
        return total / counted if counted else 0.0


def _count(genes: tuple[Gene, ...]) -> int | None:
    """Number of combinations of a list of genes with everything below them."""
    sizes: list[int | None] = []
    for gene in genes:
        if isinstance(gene, Categorical) and gene.children:
            blocks = [_count(children) for children in gene.children]
            sizes.append(None if None in blocks else sum(b for b in blocks if b is not None))
        else:
            sizes.append(gene.size)
    finite = [size for size in sizes if size is not None]
    return math.prod(finite) if len(finite) == len(sizes) else None


def _width(gene: Gene) -> int:
    """Number of loci of a gene with everything below it."""
    if not isinstance(gene, Categorical):
        return 1
    return 1 + sum(_width(child) for child in itertools.chain.from_iterable(gene.children))
