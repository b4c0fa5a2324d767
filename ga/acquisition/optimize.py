"""Surrogate-assisted variation: which of many children is worth a trial."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ga.acquisition.improvement import Region
from ga.evolution.survival import Individual, nsga2
from ga.evolution.variation import crossover, mutate
from ga.problem.known_costs import KnownCosts
from ga.problem.search_space import Genome, SearchSpace
from ga.surrogate.learner import Lessons
from ga.surrogate.surrogate import Forecast

Array = NDArray[np.float64]

_OFFSPRING = 48
_STRANGERS = 24
_INNER_SIZE = 24
_INNER_GENERATIONS = 6
_CLIMBS = 3
_CLIMBERS = 8
_CLIMB_CHILDREN = 32
# Number of genes up to which a request takes the numbers above.
_FULL_EFFORT = 64


class Assistant:
    """Proposes the candidates with the largest expected gain of hypervolume.

    The pool is made of children of the population and of the whole front, of strangers, and of
    the last generation of an inner genetic algorithm that runs on the forecasts; the best of the
    pool then climb for a few rounds.

    Args:
        space: the search space.
        lessons: what was learned; its surrogate forecasts losses and feasibility.
        costs: known costs, of a whole pool at a time.
        settled: genome -> the one that would be asked for in its place.
    """

    def __init__(
        self,
        space: SearchSpace,
        lessons: Lessons,
        costs: KnownCosts,
        settled: Callable[[Genome], Genome],
    ) -> None:
        self._space = space
        self._lessons = lessons
        self._costs = costs
        self._settled = settled
        # A candidate of a deep network takes milliseconds to cost: fewer of them are looked at.
        effort = max(0.35, min(1.0, _FULL_EFFORT / len(space)))
        self._offspring = round(effort * _OFFSPRING)
        self._strangers = round(effort * _STRANGERS)
        self._inner_size = round(effort * _INNER_SIZE)
        self._climb_children = round(effort * _CLIMB_CHILDREN)

    def propose(
        self,
        rng: random.Random,
        parents: Sequence[Genome],
        elders: Sequence[Genome],
        region: Region,
        is_new: Callable[[Genome], bool],
    ) -> Iterator[Genome]:
        """New feasible genomes that gain something, the most promising first.

        Args:
            rng: source of randomness.
            parents: the population.
            elders: the front.
            region: what is to be won.
            is_new: whether a genome was not asked before.
        """
        score = _Score(self._space, self._lessons, self._costs, region)
        elders = elders or parents
        pool = dict.fromkeys(self._pool(rng, parents, elders, score))
        best = score.of([genome for genome in pool if is_new(genome)])
        for _ in range(_CLIMBS):
            top = [genome for _, genome in best[:_CLIMBERS]]
            if not top:
                return
            children = dict.fromkeys(
                self._child(rng, rng.choice(top), rng.choice([*top, *elders]))
                for _ in range(self._climb_children)
            )
            tried = {genome for _, genome in best}
            best = sorted(
                best + score.of([g for g in children if g not in tried and is_new(g)]),
                key=lambda pair: -pair[0],
            )
        yield from (genome for gain, genome in best if gain > 0)

    def _child(self, rng: random.Random, a: Genome, b: Genome) -> Genome:
        return self._settled(mutate(self._space, crossover(self._space, a, b, rng), rng))

    def _pool(
        self,
        rng: random.Random,
        parents: Sequence[Genome],
        elders: Sequence[Genome],
        score: _Score,
    ) -> Iterator[Genome]:
        for family in (parents, elders):
            for _ in range(self._offspring // 2):
                yield self._child(rng, rng.choice(family), rng.choice(family))
        strangers = [self._settled(self._space.sample(rng)) for _ in range(self._strangers)]
        yield from strangers
        yield from self._inner_search(rng, [*parents, *elders], strangers, score)

    def _inner_search(
        self,
        rng: random.Random,
        known: Sequence[Genome],
        strangers: Sequence[Genome],
        score: _Score,
    ) -> list[Genome]:
        """A small NSGA-II on the forecasts, from good candidates and strangers."""
        start = list(dict.fromkeys(known))
        start = rng.sample(start, min(len(start), self._inner_size)) + list(strangers)
        members = nsga2(score.individuals(start), self._inner_size)
        for _ in range(_INNER_GENERATIONS):
            genomes = [m.genome for m in members]
            present = set(genomes)
            children = dict.fromkeys(
                self._child(rng, rng.choice(genomes), rng.choice(genomes))
                for _ in range(self._inner_size)
            )
            fresh = [child for child in children if child not in present]
            members = nsga2([*members, *score.individuals(fresh)], self._inner_size)
        return [m.genome for m in members]


class _Score:
    """Expected gains and forecast individuals of genomes, on normalized losses."""

    def __init__(
        self,
        space: SearchSpace,
        lessons: Lessons,
        costs: KnownCosts,
        region: Region,
    ) -> None:
        self._space, self._surrogate, self._costs = space, lessons.surrogate, costs
        self._costed = dict(lessons.costed)
        self._region = region
        self._forecasts: dict[Genome, tuple[Array, Array, float, float]] = {}

    def _look_up(self, genomes: Sequence[Genome]) -> None:
        fresh = [genome for genome in genomes if genome not in self._forecasts]
        if not fresh:
            return
        uncosted = [genome for genome in fresh if genome not in self._costed]
        found = self._costs.of_many([self._space.decode(genome) for genome in uncosted])
        self._costed.update(zip(uncosted, found, strict=True))
        costs = [self._costed[genome] for genome in fresh]
        forecast: Forecast = self._surrogate.forecast(fresh, costs)
        mean, deviation, self._floor = self._region.scaled(forecast)
        feasible = np.where(forecast.known, forecast.feasible, 0.0)
        violation = np.where(forecast.known, forecast.violation, np.inf)
        for i, genome in enumerate(fresh):
            self._forecasts[genome] = (
                mean[i], deviation[i], float(violation[i]), float(feasible[i])
            )  # fmt: skip

    def of(self, genomes: Sequence[Genome]) -> list[tuple[float, Genome]]:
        """`(gain, genome)`, the largest expected gain first."""
        if not genomes:
            return []
        self._look_up(genomes)
        found = [self._forecasts[genome] for genome in genomes]
        gains = self._region.gains(
            np.array([f[0] for f in found]), np.array([f[1] for f in found]), self._floor
        )
        gains = gains * np.array([f[3] for f in found])
        return sorted(zip(gains.tolist(), genomes, strict=True), key=lambda pair: -pair[0])

    def individuals(self, genomes: Sequence[Genome]) -> list[Individual]:
        """Members of the inner search."""
        self._look_up(genomes)
        return [
            Individual(0, genome, tuple(mean.tolist()), violation)
            for genome in genomes
            for mean, _, violation, _ in [self._forecasts[genome]]
        ]
