"""Differential evolution with several objectives: GDE3 (Kukkonen & Lampinen 2005), one by one.

Two things differ from the original, which goes generation by generation. A newcomer is compared
with its target as soon as its result is there. And genes are coded as places in [0, 1], of which a
gene takes the nearest allele (DE on mixed variables: Lampinen & Zelinka 1999).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from ga.evaluation import DE
from ga.evolution.candidate_sources import Proposal
from ga.evolution.individual import Individual, loss_fitness
from ga.evolution.survival import rate
from ga.evolution.variation import mutant
from ga.history.pareto import dominates
from ga.history.results import Results
from ga.problem.genes import Allele, Gene
from ga.problem.search_space import Genome, SearchSpace
from ga.strategies.newcomers import Newcomers

# Scale of a difference, drawn for each child ("dither"), and the chance of a gene to be the
# mutant's. Usual values (Das & Suganthan, IEEE TEVC 15, 2011); chances of .3 and .9 were no better
# on the tables of digits and keyword spotting (seeds 100 to 105).
_SCALES = 0.5, 1.0
_CROSSOVER = 0.5
# Three others make a child. Coarse genes give the same child again and again: from so many tries
# on it is mutated too. Choices.
_FEWEST = 4
_TRIES = 40
_PLAIN_TRIES = 10


class DifferentialEvolution:
    """Proposes children of a population that is a function of the results in their order.

    Args:
        space: the search space.
        size: of the population.
        seed: of everything random.
    """

    def __init__(self, space: SearchSpace, size: int, seed: int) -> None:
        self._space, self._size, self._seed = space, max(size, _FEWEST), seed
        self._members: list[Individual] = []
        self._newcomers = Newcomers()

    def proposals(
        self, number: int, results: Results, is_new: Callable[[Genome], bool]
    ) -> Iterator[Proposal]:
        """Children for one request; none while the population has too few members.

        Args:
            number: of the candidate that is asked for; it says which member it competes with.
            results: so far.
            is_new: whether a genome was not asked before.
        """
        for genome, evaluation in self._newcomers.of(results):
            fitness = loss_fitness(len(evaluation.losses))()
            fitness.values = evaluation.losses
            self._add(Individual(genome, fitness, evaluation.violation, evaluation.id))
        if len(self._members) < _FEWEST:
            return
        rng = random.Random(f"de {self._seed}:{number}")
        target = self._members[number % len(self._members)]
        for attempt in range(_TRIES):
            child = self._child(target, rng)
            if attempt >= _PLAIN_TRIES:
                child = mutant(child, self._space, rng, attempt / _PLAIN_TRIES)
            yield child, DE, rng

    def _add(self, newcomer: Individual) -> None:
        members = self._members
        if len(members) < self._size:
            members.append(newcomer)
            return
        place = newcomer.number % self._size
        if _beats(newcomer, members[place]):
            members[place] = newcomer
        elif not _beats(members[place], newcomer):
            # Neither is better: both stay, and the worst of all goes.
            worst = rate([*members, newcomer])[-1]
            for i, member in enumerate(members):
                if member is worst:
                    members[i] = newcomer

    def _child(self, target: Sequence[Allele], rng: random.Random) -> Genome:
        """DE/rand/1/bin: a member plus the scaled difference of two others, crossed over."""
        others = [member for member in self._members if member is not target]
        base, one, other = rng.sample(others, 3)
        scale, sure = rng.uniform(*_SCALES), rng.randrange(len(target))
        return tuple(
            _moved(locus.gene, base[i], one[i], other[i], scale, rng)
            if i == sure or rng.random() < _CROSSOVER
            else target[i]
            for i, locus in enumerate(self._space.loci)
        )


def _beats(a: Individual, b: Individual) -> bool:
    """Constrained domination (Deb et al. 2002)."""
    if a.violation or b.violation:
        return a.violation < b.violation
    return dominates(a.losses, b.losses)


def _moved(
    gene: Gene, base: Allele, one: Allele, other: Allele, scale: float, rng: random.Random
) -> Allele:
    """An allele moved by a scaled difference; without an order, maybe one's own."""
    if one == other:
        return base
    if not gene.numeric:
        return one if rng.random() < scale else base
    unit = gene.to_unit(base) + scale * (gene.to_unit(one) - gene.to_unit(other))
    # Reflected at the ends: cut off there, children would heap up on the extremes.
    return gene.from_unit(1.0 - abs(1.0 - abs(unit)))
