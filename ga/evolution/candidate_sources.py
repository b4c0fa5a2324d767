"""Where candidates come from: the design, the surrogate, the genetic operators, chance, a walk."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from ga.evolution.population import Population
from ga.evolution.variation import crossover, mutate
from ga.problem.search_space import Genome, SearchSpace

# How hard one request looks for a candidate that is new: offspring, then random ones, then a walk
# through a finite space. The walk goes on in the next request where it stopped.
_OFFSPRING = 40
_RANDOM = 100
_WALK = 5000
# Share of newcomers among the GA's candidates: they keep a small population from closing in.
_IMMIGRANTS = 0.1

#: A genome, its origin, and the generator to mend it with if it breaks a limit (None: drop it).
Proposal = tuple[Genome, str, random.Random | None]


class Proposals:
    """Streams of proposals without a surrogate.

    Args:
        space: the search space.
        design: the first candidates with their origins.
        population: the parents.
        seed: of the mending of the design and of the walk.
    """

    def __init__(
        self,
        space: SearchSpace,
        design: Sequence[tuple[Genome, str]],
        population: Population,
        seed: int,
    ) -> None:
        self._space = space
        self._design = design
        self._population = population
        self._seed = seed
        self._design_at = 0
        self._walk_at = 0

    def designed(self, results: int) -> Iterator[Proposal]:
        """What is left of the initial design; its random part not once as many results are known.

        Args:
            results: number of complete results, imported ones too.
        """
        while self._design_at < len(self._design):
            genome, origin = self._design[self._design_at]
            # Mended with a generator of its own, so that a replay mends it into the same one.
            own = random.Random(f"design {self._seed} {self._design_at}")
            self._design_at += 1
            if origin == "lhs" and results >= len(self._design):
                continue
            yield genome, origin, None if origin in ("initial", "corner") else own

    def bred(self, rng: random.Random) -> Iterator[Proposal]:
        """Children of the population, mutated the more the longer none is new."""
        if len(self._population.members) < 2:
            return
        if rng.random() < _IMMIGRANTS:
            yield self._space.sample(rng), "random", rng
        for attempt in range(_OFFSPRING):
            a, b = self._population.parent(rng), self._population.parent(rng)
            child = crossover(self._space, a.genome, b.genome, rng)
            yield mutate(self._space, child, rng, strength=1.0 + attempt / 4), "ga", rng

    def sampled(self, rng: random.Random) -> Iterator[Proposal]:
        """Random ones."""
        for _ in range(_RANDOM):
            yield self._space.sample(rng), "random", rng

    def walked(self) -> Iterator[Proposal]:
        """Every chromosome of a finite space once, in a scattered order, a stretch per request."""
        total = self._space.cardinality
        if total is None:
            return
        order = random.Random(f"walk {self._seed}")
        start, stride = order.randrange(total), order.randrange(1, total + 1)
        while math.gcd(stride, total) != 1:
            stride += 1
        for _ in range(_WALK):
            if self._walk_at >= total:
                return
            genome = self._space.nth((start + self._walk_at * stride) % total)
            self._walk_at += 1
            yield genome, "random", None
