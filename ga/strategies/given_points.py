"""The user's points and then their neighbours: for starting points that were found elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from ga.evaluation import NEIGHBOUR
from ga.evolution.candidate_sources import Proposal
from ga.evolution.variation import mutant
from ga.history.results import Results
from ga.problem.search_space import Genome, SearchSpace

# Steps away from a point: the more, the longer nothing new is found. A choice.
_TRIES = 60


class Neighbours:
    """Once the points are used up: one step or more from a member of the front.

    Args:
        space: the search space.
        seed: of everything random.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space, self._seed = space, seed

    def proposals(
        self, number: int, results: Results, is_new: Callable[[Genome], bool]
    ) -> Iterator[Proposal]:
        """Neighbours for one request.

        Args:
            number: of the candidate that is asked for.
            results: so far. While none is feasible, the one that breaks the limits least counts;
                while there is none at all, those in flight.
            is_new: whether a genome was not asked before.
        """
        rng = random.Random(f"neighbour {self._seed}:{number}")
        front = results.front_genomes()
        if not front:
            known = [e for e in results.archive.scored.values() if e.id in results.genomes]
            known.sort(key=lambda evaluation: evaluation.violation)
            front = [results.genomes[evaluation.id] for evaluation in known[:1]]
        front = front or list(results.genomes.values())
        for attempt in range(_TRIES if front else 0):
            genome = mutant(rng.choice(front), self._space, rng, 1.0 + attempt / 10)
            yield genome, NEIGHBOUR, rng
