"""Surrogate-assisted variation: which of many children is worth a trial."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from ga.acquisition.improvement import ImprovementRegion
from ga.arrays import Array
from ga.evolution.individual import Individual, loss_fitness
from ga.evolution.survival import survivors
from ga.evolution.toolbox import Toolbox
from ga.problem.knapsack import Knapsack
from ga.problem.known_costs import KnownCosts
from ga.problem.search_space import Genome, SearchSpace
from ga.surrogate.learner import Learner
from ga.surrogate.surrogate import Forecast

# Sizes of the pool: children of population and front, immigrants, the inner search, and the local
# search from the best. They are choices, not tuned one by one. Without the inner search and the
# local search the end on NAS-Bench-201 is lower by .001 (p .07 in eight seeds, "no inner search, no
# climbing" in docs/search.md).
_OFFSPRING = 48
_IMMIGRANTS = 24
_INNER_SIZE = 24
_INNER_GENERATIONS = 6
_LOCAL_ROUNDS = 3
_LOCAL_STARTS = 8
_LOCAL_CHILDREN = 32
# Directions of cost in which the knapsack is solved for a request, and the deviation of the
# logarithm by which sensitivities are doubted that no result has corrected. Choices; not tuned.
_SOLVED = 4
_DOUBT = 0.8
# Number of genes up to which a request takes the numbers above, and the least share of them. At 200
# genes most of a request's time went into decoding and costing its pool (benchmarks/search/
# ask_tell.py); the two numbers are choices.
_FULL_EFFORT = 64
_LEAST_EFFORT = 0.35


class AcquisitionOptimizer:
    """Proposes the candidates with the largest expected gain of hypervolume.

    The pool is made of children of the population and of the whole front, of immigrants, and of
    the last generation of an inner genetic algorithm that runs on the forecasts. A local search
    goes on from the best of the pool for a few rounds.

    Args:
        space: the search space.
        toolbox: its `mate` and `mutate` make children, its `select_forecasts` the inner search.
        learner: its surrogate forecasts losses and feasibility.
        costs: known costs, of a whole pool at a time.
        canonical: genome -> the one that would be asked for in its place.
        knapsack: its solutions, for losses as the surrogate believes them, are in every pool.
    """

    def __init__(
        self,
        space: SearchSpace,
        toolbox: Toolbox,
        learner: Learner,
        costs: KnownCosts,
        canonical: Callable[[Genome], Genome],
        knapsack: Knapsack | None = None,
    ) -> None:
        self._space = space
        self._toolbox = toolbox
        self._learner = learner
        self._costs = costs
        self._canonical, self._knapsack = canonical, knapsack
        # A candidate of a deep network takes milliseconds to cost: fewer of them are looked at.
        effort = max(_LEAST_EFFORT, min(1.0, _FULL_EFFORT / len(space)))
        self._offspring = round(effort * _OFFSPRING)
        self._immigrants = round(effort * _IMMIGRANTS)
        self._inner_size = round(effort * _INNER_SIZE)
        self._local_children = round(effort * _LOCAL_CHILDREN)

    def propose(
        self,
        rng: random.Random,
        parents: Sequence[Genome],
        front: Sequence[Genome],
        region: ImprovementRegion,
        is_new: Callable[[Genome], bool],
    ) -> Iterator[Genome]:
        """New feasible genomes that gain something, the most promising first.

        Args:
            rng: source of randomness.
            parents: the population.
            front: the front.
            region: what is to be won.
            is_new: whether a genome was not asked before.
        """
        score = _Score(self._space, self._learner, self._costs, region)
        front = front or parents
        pool = dict.fromkeys(self._pool(rng, parents, front, score))
        best = score.of([genome for genome in pool if is_new(genome)])
        for _ in range(_LOCAL_ROUNDS):
            top = [genome for _, genome in best[:_LOCAL_STARTS]]
            if not top:
                return
            children = dict.fromkeys(
                self._child(rng, rng.choice(top), rng.choice([*top, *front]))
                for _ in range(self._local_children)
            )
            tried = {genome for _, genome in best}
            best = sorted(
                best + score.of([g for g in children if g not in tried and is_new(g)]),
                key=lambda pair: -pair[0],
            )
        yield from (genome for gain, genome in best if gain > 0)

    def _child(self, rng: random.Random, a: Genome, b: Genome) -> Genome:
        return self._canonical(self._toolbox.child(a, b, rng))

    def _pool(
        self,
        rng: random.Random,
        parents: Sequence[Genome],
        front: Sequence[Genome],
        score: _Score,
    ) -> Iterator[Genome]:
        for family in (parents, front):
            for _ in range(self._offspring // 2):
                yield self._child(rng, rng.choice(family), rng.choice(family))
        yield from map(self._canonical, self._solved(rng, score))
        immigrants = [self._canonical(self._space.sample(rng)) for _ in range(self._immigrants)]
        yield from immigrants
        yield from self._inner_search(rng, [*parents, *front], immigrants, score)

    def _solved(self, rng: random.Random, score: _Score) -> list[Genome]:
        if self._knapsack is None:
            return []
        generator = np.random.default_rng(rng.getrandbits(32))
        factors = self._learner.surrogate.factors(generator, _SOLVED)
        if factors is not None:
            return self._knapsack.drawn(generator, factors, costed=score.costed)
        as_measured = np.ones((_SOLVED, len(self._knapsack.loci)))
        return self._knapsack.drawn(generator, as_measured, _DOUBT, score.costed)

    def _inner_search(
        self,
        rng: random.Random,
        known: Sequence[Genome],
        immigrants: Sequence[Genome],
        score: _Score,
    ) -> list[Genome]:
        """A small NSGA-II on the forecasts, from good candidates and immigrants."""
        select = partial(self._toolbox.select_forecasts, rng=rng)
        start = list(dict.fromkeys(known))
        start = rng.sample(start, min(len(start), self._inner_size)) + list(immigrants)
        members = survivors(select, score.individuals(start), self._inner_size)
        for _ in range(_INNER_GENERATIONS):
            genomes = [m.genome for m in members]
            present = set(genomes)
            children = dict.fromkeys(
                self._child(rng, rng.choice(genomes), rng.choice(genomes))
                for _ in range(self._inner_size)
            )
            fresh = [child for child in children if child not in present]
            members = survivors(select, [*members, *score.individuals(fresh)], self._inner_size)
        return [m.genome for m in members]


class _Score:
    """Expected gains and forecast individuals of genomes, on normalized losses.

    Attributes:
        costed: known costs of what was looked at for this request.
    """

    def __init__(
        self,
        space: SearchSpace,
        learner: Learner,
        costs: KnownCosts,
        region: ImprovementRegion,
    ) -> None:
        self._space, self._surrogate, self._costs = space, learner.surrogate, costs
        self._told, self.costed = learner.costed, dict[Genome, Mapping[str, float]]()
        self._region = region
        self._forecasts: dict[Genome, tuple[Array, Array, float, float]] = {}

    def _look_up(self, genomes: Sequence[Genome]) -> None:
        fresh = [genome for genome in genomes if genome not in self._forecasts]
        if not fresh:
            return
        told, looked_at = self._told, self.costed
        uncosted = [g for g in fresh if g not in told and g not in looked_at]
        found = self._costs.of_many([self._space.decode(genome) for genome in uncosted])
        looked_at.update(zip(uncosted, found, strict=True))
        costs = [told[g] if g in told else looked_at[g] for g in fresh]
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
            Individual(genome, loss_fitness(len(mean))(mean.tolist()), violation)
            for genome in genomes
            for mean, _, violation, _ in [self._forecasts[genome]]
        ]
