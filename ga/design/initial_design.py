"""The first candidates: corners, the user's own points, a Latin hypercube."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ga.design.greedy_path import Staircase
from ga.evolution.variation import latin_hypercube
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.uniform_settings import corners, setting_of


def ladder(space: SearchSpace, sensitivities: Mapping[str, float], rungs: int) -> list[Genome]:
    """Greedy settings from sensitivities: least sensitive layers are compressed first.

    Starting from nothing pruned at the highest bits, the layers are put to their middle setting
    one after the other in order of sensitivity, then to their lowest bits; `rungs` stations of
    that way are returned. It is the greedy list of mixed-precision tools (HAWQ, Sony MCT).

    Args:
        space: a space that has corners.
        sensitivities: layer (a gene's name up to the last dot) -> loss of quality; layers that
            are not named come last.
        rungs: number of genomes to return.
    """
    ends = corners(space)
    if not ends or rungs < 1:
        return []
    order = sorted(
        range(len(space.groups)),
        key=lambda g: sensitivities.get(space.loci[space.groups[g][0]].group, float("inf")),
    )
    genome, way = list(ends[0]), []
    for to_the_end in (False, True):
        for g in order:
            for i in space.groups[g]:
                traits = space.loci[i].traits
                if traits is None or not traits.corners:
                    continue
                place = traits.end if to_the_end else "middle"
                if place is not None:
                    genome[i] = setting_of(space.loci[i].gene, place)
            way.append(tuple(genome))
    picks = {max(0, round((k + 1) * len(way) / rungs) - 1) for k in range(rungs)}
    return [way[i] for i in sorted(picks)]


def first_candidates(
    space: SearchSpace,
    count: int,
    initial: Sequence[Mapping[str, Any]],
    sensitivities: Mapping[str, float],
    seed: object,
    staircase: Staircase | None = None,
) -> list[tuple[Genome, str]]:
    """The design to start with: `(genome, origin)`, about `count` of them.

    All of the user's points come first, then corners and ladder (at most half of `count`), then
    a Latin hypercube fills up. A staircase takes the ladder's place: half of what fills up is near
    it.

    Raises:
        ValueError: a point of the user that is not in the space.
    """
    design: list[tuple[Genome, str]] = []
    for number, params in enumerate(initial):
        try:
            design.append((space.encode(params), "initial"))
        except ValueError as error:
            raise ValueError(f"initial[{number}] is not in the search space: {error}") from error
    uniform = corners(space)
    share = max(0, count // 2 - len(design))
    if sensitivities and staircase is None:
        uniform = uniform[:2] + ladder(space, sensitivities, max(0, share - 2))
    design += [(genome, "corner") for genome in uniform[:share]]
    if staircase is not None:
        near = max(0, count - len(design)) // 2
        design += [(genome, "ladder") for genome in staircase.aside(near, seed)]
    rest = max(0, count - len(design))
    return design + [(genome, "lhs") for genome in hypercube(space, rest, seed)]


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
