"""Crossover and mutation by gene type, in DEAP's form: in place, and returned as a tuple.

The random numbers come from the generator that is handed in, never from the `random` module's
own state as in DEAP's operators: the same seed then gives the same search in any host program.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from ga.problem.genes import Allele, Categorical, Gene, Ordered
from ga.problem.search_space import Genome, SearchSpace

Alleles = TypeVar("Alleles", bound=list[Allele])

# Distribution indices of Deb & Agrawal, Complex Systems 9 (1995): children of SBX stay near their
# parents, mutants of polynomial mutation move by a few percent of the range.
# The values are those usual with NSGA-II; not tuned here.
_ETA_CROSSOVER = 15.0
_ETA_MUTATION = 20.0


def crossover(
    ind1: Alleles, ind2: Alleles, space: SearchSpace, rng: random.Random
) -> tuple[Alleles, Alleles]:
    """Two children, each of which takes every layer as a whole from one of two parents.

    Half of the pairs are made group by group (uniform crossover), half by cutting the list of
    layers at two places, which keeps neighbouring layers together too. Bounded simulated binary
    crossover then blends the integer and real genes that both parents have.

    Args:
        ind1: a parent; becomes the first child.
        ind2: a parent; becomes the second child, with the layers that the first left.
        space: of both.
        rng: source of randomness.
    """
    groups = space.groups
    if rng.random() < 0.5 or len(groups) < 3:
        swapped = [rng.random() < 0.5 for _ in groups]
    else:
        first, last = sorted(rng.sample(range(len(groups) + 1), 2))
        swapped = [first <= i < last for i in range(len(groups))]
    for group, swap in zip(groups, swapped, strict=True):
        for i in group if swap else ():
            ind1[i], ind2[i] = ind2[i], ind1[i]
    for i in space.blendable:
        if ind1[i] != ind2[i]:
            ind1[i], ind2[i] = _blend(space.loci[i].gene, ind1[i], ind2[i], rng)
    return ind1, ind2


def _blend(gene: Gene, a: Allele, b: Allele, rng: random.Random) -> tuple[Allele, Allele]:
    """Simulated binary crossover, the first child on the side of `a`."""
    u = rng.random()
    spread = (2 * u) ** (1 / (_ETA_CROSSOVER + 1))
    if u > 0.5:
        spread = (1 / (2 * (1 - u))) ** (1 / (_ETA_CROSSOVER + 1))
    x, y = gene.to_unit(a), gene.to_unit(b)
    return (
        gene.from_unit(((1 + spread) * x + (1 - spread) * y) / 2),
        gene.from_unit(((1 + spread) * y + (1 - spread) * x) / 2),
    )


def mutate(
    individual: Alleles, space: SearchSpace, rng: random.Random, strength: float = 1.0
) -> tuple[Alleles]:
    """An individual with something active changed.

    Mostly about `strength` genes are changed, each on its own: ordered genes move by one step,
    categorical ones to any other value, integers and reals by bounded polynomial mutation. Where
    many layers have genes of one kind, half of the mutations shift that kind by one step in a
    whole run of layers: single steps would take hundreds of trials to cross a deep network.

    Args:
        individual: becomes the mutant.
        space: of it.
        rng: source of randomness.
        strength: how many genes change on average.
    """
    crowded = space.crowded_kinds
    if crowded and rng.random() < 0.5 and _shift(individual, space, rng.choice(crowded), rng):
        return (individual,)
    open_loci = space.open_loci(individual)
    if not open_loci:
        return (individual,)
    rate, draw = min(1.0, strength / len(open_loci)), rng.random
    chosen = [i for i in open_loci if draw() < rate] or [rng.choice(open_loci)]
    for i in chosen:
        individual[i] = step(space.loci[i].gene, individual[i], rng)
    return (individual,)


def mutant(genome: Genome, space: SearchSpace, rng: random.Random, strength: float = 1.0) -> Genome:
    """A mutated copy of a genome; arguments as for `mutate`."""
    return tuple(mutate(list(genome), space, rng, strength)[0])


def _shift(individual: Alleles, space: SearchSpace, kind: str, rng: random.Random) -> bool:
    """Move all genes of a kind in a run of layers the same way, by one step each.

    Returns:
        Whether that changed anything.
    """
    loci = space.crowds[kind]
    first, last = sorted(rng.sample(range(len(loci) + 1), 2))
    up = rng.random() < 0.5
    amount = rng.random() ** 2 / 2
    changed = False
    for i in loci[first:last]:
        gene, before = space.loci[i].gene, individual[i]
        size = gene.size
        if isinstance(gene, Ordered) and size is not None:
            individual[i] = min(size - 1, max(0, before + (1 if up else -1)))
        else:
            individual[i] = gene.from_unit(gene.to_unit(before) + (amount if up else -amount))
        changed = changed or individual[i] != before
    return changed


def step(gene: Gene, allele: Allele, rng: random.Random) -> Allele:
    """Another allele near to this one."""
    size = gene.size
    if isinstance(gene, Categorical):
        assert size is not None
        other = rng.randrange(size - 1)
        return other + (other >= allele)
    if isinstance(gene, Ordered):
        assert size is not None
        return _bounded(int(allele) + rng.choice((-1, 1)), int(allele), size)
    moved = gene.from_unit(_polynomial(gene.to_unit(allele), rng))
    if moved != allele:
        return moved
    if isinstance(moved, int) and size is not None:
        return _bounded(moved + rng.choice((-1, 1)), moved, size)
    return gene.sample(rng)


def _bounded(new: int, old: int, size: int) -> int:
    return new if 0 <= new < size else 2 * old - new


def _polynomial(x: float, rng: random.Random) -> float:
    """Bounded polynomial mutation (Deb & Goyal 1996) of a unit coordinate."""
    u, power = rng.random(), 1 / (_ETA_MUTATION + 1)
    delta: float
    if u < 0.5:
        delta = (2 * u + (1 - 2 * u) * (1 - x) ** (_ETA_MUTATION + 1)) ** power - 1
    else:
        delta = 1 - (2 * (1 - u) + (2 * u - 1) * x ** (_ETA_MUTATION + 1)) ** power
    return x + delta


def latin_hypercube(count: int, dimensions: int, rng: random.Random) -> list[list[float]]:
    """`count` points in the unit cube, one in each of `count` slices of every axis."""
    columns = []
    for _ in range(dimensions):
        slices = list(range(count))
        rng.shuffle(slices)
        columns.append([(s + rng.random()) / count for s in slices])
    return [[column[i] for column in columns] for i in range(count)]


def splice(space: SearchSpace, genome: Genome, donor: Genome, groups: Sequence[int]) -> Genome:
    """The genome with some of its layers (indices into `space.groups`) taken from a donor."""
    child = list(genome)
    for g in groups:
        for i in space.groups[g]:
            child[i] = donor[i]
    return tuple(child)
