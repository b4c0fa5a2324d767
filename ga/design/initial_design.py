"""The first candidates: corners, the user's own points, a Latin hypercube."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from ga.evaluation import CORNER, INITIAL, LHS
from ga.evolution.variation import latin_hypercube
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.uniform_settings import corners

# The design before the first fit: more would delay the surrogate, which beats it from here on. A
# choice that came with the surrogate; not tuned.
_BEFORE_SURROGATE = 12


def design_size(population_size: int, surrogate: str) -> int:
    """How many candidates the design has."""
    return population_size if surrogate == "none" else min(population_size, _BEFORE_SURROGATE)


def first_candidates(
    space: SearchSpace,
    count: int,
    initial: Sequence[Mapping[str, object]],
    seed: object,
) -> list[tuple[Genome, str]]:
    """The design to start with: `(genome, origin)`, about `count` of them.

    All of the user's points come first, then corners (at most half of `count`), then a Latin
    hypercube fills up.

    Args:
        space: the search space.
        count: how many candidates are wanted.
        initial: the user's points.
        seed: of everything random.

    Raises:
        ValueError: a point of the user that is not in the space.
    """
    design: list[tuple[Genome, str]] = []
    for number, params in enumerate(initial):
        try:
            design.append((space.encode(params), INITIAL))
        except ValueError as error:
            raise ValueError(f"initial[{number}] is not in the search space: {error}") from error
    share = max(0, count // 2 - len(design))
    design += [(genome, CORNER) for genome in corners(space)[:share]]
    rest = max(0, count - len(design))
    return design + [(genome, LHS) for genome in hypercube(space, rest, seed)]


def hypercube(space: SearchSpace, count: int, seed: object) -> Iterator[Genome]:
    """A Latin hypercube of `count` genomes.

    Where a kind has many genes (see `SearchSpace.sample`) every second point is stratified by the
    level of the kind, so that the cheap and the expensive end of the space are both visited.
    """
    rng = random.Random(f"hypercube {seed}")
    kinds = space.crowded_kinds
    spread = count // 2 if kinds else 0
    for levels in latin_hypercube(spread, len(kinds), rng):
        yield space.around(dict(zip(kinds, levels, strict=True)), rng)
    for point in latin_hypercube(count - spread, len(space), rng):
        yield tuple(
            locus.gene.from_unit(unit) for locus, unit in zip(space.loci, point, strict=True)
        )
