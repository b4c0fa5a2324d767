from __future__ import annotations

import random

from hypothesis import given

from ga import Categorical, Integer, Ordered, Real, SearchSpace
from ga.evolution.variation import crossover, latin_hypercube, mutant, splice
from ga.problem.genes import Allele
from ga.problem.search_space import Genome
from support.spaces import bits_space, mixed_space, rngs, spaces


def children(
    space: SearchSpace, a: Genome, b: Genome, rng: random.Random
) -> tuple[list[Allele], list[Allele]]:
    return crossover(list(a), list(b), space, rng)


@given(spaces(), rngs())
def test_children_lie_in_the_space(space: SearchSpace, rng: random.Random) -> None:
    a, b = space.sample(rng), space.sample(rng)
    for child in (*children(space, a, b, rng), mutant(a, space, rng, strength=3.0)):
        params = space.decode(child)
        assert space.decode(space.encode(params)) == params


@given(rngs())
def test_crossover_hands_on_whole_layers(rng: random.Random) -> None:
    space = bits_space(8)
    a, b = space.sample(rng), space.sample(rng)
    first, second = children(space, a, b, rng)
    for group in space.groups:
        parts = [[child[i] for i in group] for child in (first, second)]
        parents = [[parent[i] for i in group] for parent in (a, b)]
        assert sorted(parts) == sorted(parents), "what one child leaves the other one has"


@given(rngs())
def test_nested_genes_stay_with_their_choice(rng: random.Random) -> None:
    space = mixed_space()
    assert {locus.group for locus in space.loci if locus.parent >= 0} == {"optimizer"}
    a, b = space.sample(rng), space.sample(rng)
    child = space.decode(children(space, a, b, rng)[0])["optimizer"]
    parents = [space.decode(g)["optimizer"] for g in (a, b)]
    assert child["_name"] in [p["_name"] for p in parents]


@given(rngs())
def test_mutation_moves_ordered_genes_by_one_step(rng: random.Random) -> None:
    space = SearchSpace([Ordered(f"g{i}", tuple(range(7))) for i in range(10)])
    genome = space.sample(rng)
    steps = [abs(x - y) for x, y in zip(genome, mutant(genome, space, rng), strict=True)]
    assert max(steps) == 1


@given(spaces(), rngs())
def test_mutation_changes_something_active(space: SearchSpace, rng: random.Random) -> None:
    genome = space.sample(rng)
    changeable = [
        locus.gene.size != 1
        for locus, on in zip(space.loci, space.active(genome), strict=True)
        if on
    ]
    mutants = {space.key(mutant(genome, space, rng)) for _ in range(20)}
    assert (mutants != {space.key(genome)}) == any(changeable)


def test_mutation_reaches_every_value() -> None:
    space = SearchSpace([Categorical("c", tuple("abcd")), Integer("i", 0, 9), Real("r", 0, 1)])
    rng, genome = random.Random(1), (0, 0, 0.5)
    seen: set[object] = set()
    for _ in range(600):
        genome = mutant(genome, space, rng)
        seen |= {("c", genome[0]), ("i", genome[1])}
    assert len(seen) == 14


def test_latin_hypercube_has_one_point_in_each_slice() -> None:
    points = latin_hypercube(10, 3, random.Random(0))
    for axis in range(3):
        assert sorted(int(p[axis] * 10) for p in points) == list(range(10))


def test_splice_takes_the_named_layers() -> None:
    space = bits_space(3)
    a, b = space.nth(0), space.nth(space.cardinality - 1)  # type: ignore[operator]
    child = splice(space, a, b, [1])
    assert child[3:6] == b[3:6]
    assert child[:3] == a[:3]
