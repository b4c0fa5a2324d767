"""How far a candidate keeps from what was asked before, where genes have no steps.

In a space of listed values a candidate is new or it is not. A number between two bounds is always
new, by a hair; and next to the best result a hair is where the expected gain is largest, so that a
search may spend its trials on one place. Many functions are flat there: sizes are rounded, and so
are rates that hardly matter. What lies so near to a trial will not tell more than that trial.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from ga.arrays import Array
from ga.problem.search_space import Genome, SearchSpace

# Five runs on three tables of settings (seeds 100, 101; benchmarks/search/one_number.py): the mean
# regret after 100 trials is .08 instead of .10. With three times as much it was no better in two.
_DISTANCE = 0.1


def spaced(
    space: SearchSpace, asked: Collection[Genome], is_new: Callable[[Genome], bool]
) -> Callable[[Genome], bool]:
    """`is_new`, but for what lies too near to a genome that was asked before.

    Two genomes are near if no gene differs by more than a distance, as a share of its range. It
    shrinks with the number of those asked as the distance of as many points in a grid does.

    Args:
        space: the search space.
        asked: genomes told or in flight.
        is_new: whether a genome was not asked before.
    """
    numeric = [i for i, locus in enumerate(space.loci) if locus.gene.numeric]
    fine = [i for i in numeric if (space.loci[i].gene.size or np.inf) > 1 / _DISTANCE]
    if not fine or not asked:
        return is_new
    distance = _DISTANCE * len(asked) ** (-1 / len(fine))

    def units(genomes: Collection[Genome]) -> tuple[Array, Array]:
        alleles = np.array(list(genomes), dtype=float)
        places = np.column_stack(
            [[space.loci[i].gene.to_unit(a) for a in alleles[:, i]] for i in numeric]
        )
        return places, np.delete(alleles, numeric, axis=1)

    known, kinds = units(asked)

    def is_far(genome: Genome) -> bool:
        place, kind = units([genome])
        gap = np.abs(known - place).max(axis=1)
        return not bool(((gap < distance) & (kinds == kind).all(axis=1)).any())

    return lambda genome: is_new(genome) and is_far(genome)
