"""Where candidates come from: the design, the surrogate, the genetic operators, chance, a walk."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence

from ga.evaluation import CORNER, GA, INITIAL, LHS, RANDOM
from ga.evolution.population import Population
from ga.evolution.toolbox import Toolbox
from ga.history.results import Results
from ga.problem.search_space import Genome, SearchSpace

# How hard one request looks for a candidate that is new: offspring, then random ones, then a walk
# through a finite space. The walk goes on in the next request where it stopped. Choices;
# not tuned.
_OFFSPRING = 40
_RANDOM = 100
_WALK = 5000
# Share of requests that the plain GA answers although the surrogate could: what the predictor is
# wrong about is found there. Chosen on seeds 0 to 5 of NAS-Bench-201 (docs/search.md); without it
# the end there is the same (p .47 in eight seeds, "no plain GA requests").
_PLAIN_SHARE = 0.05
# Share of newcomers among the GA's candidates: they keep a small population from closing in.
# A choice; not tuned.
_IMMIGRANTS = 0.1

#: A genome, its origin, and the generator to mend it with if it breaks a limit (None: drop it).
Proposal = tuple[Genome, str, random.Random | None]
#: A design that depends on results: number of the candidate, results, whether a genome is new.
DependentDesign = Callable[[int, Results, Callable[[Genome], bool]], Iterator[Proposal]]


class CandidateSources:
    """Streams of proposals; that of the surrogate is handed in.

    Args:
        space: the search space.
        design: the first candidates with their origins.
        calibrated: the next ones, which depend on results, where enough is known for them.
        population: the parents.
        toolbox: its `mate` and `mutate` make the children.
        seed: of the mending of the design and of the walk.
        alone: whether nothing but chance follows `calibrated`.
    """

    def __init__(
        self,
        space: SearchSpace,
        design: Sequence[tuple[Genome, str]],
        calibrated: DependentDesign | None,
        population: Population,
        toolbox: Toolbox,
        seed: int,
        *,
        alone: bool = False,
    ) -> None:
        self._space, self._alone = space, alone
        self._design, self._calibrated = design, calibrated
        self._population = population
        self._toolbox = toolbox
        self._seed = seed
        self._design_at = 0
        self._walk_at = 0

    def streams(
        self,
        rng: random.Random,
        number: int,
        results: Results,
        is_new: Callable[[Genome], bool],
        modelled: Iterator[Proposal],
    ) -> Iterator[Proposal]:
        """All proposals for one request, in the order in which they are tried.

        Args:
            rng: source of randomness.
            number: of the candidate that is asked for.
            results: so far, imported ones too.
            is_new: whether a genome was not asked before.
            modelled: what the surrogate proposes.
        """
        yield from self.designed(len(results.archive.scored))
        if self._calibrated is not None:
            yield from self._calibrated(number, results, is_new)
        if not self._alone:
            if rng.random() >= _PLAIN_SHARE:
                yield from modelled
            yield from self.bred(rng)
        yield from self.sampled(rng)
        yield from self.walked()

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
            if origin == LHS and results >= len(self._design):
                continue
            yield genome, origin, None if origin in (INITIAL, CORNER) else own

    def bred(self, rng: random.Random) -> Iterator[Proposal]:
        """Children of the population, mutated the more the longer none is new."""
        if len(self._population.members) < 2:
            return
        if rng.random() < _IMMIGRANTS:
            yield self._space.sample(rng), RANDOM, rng
        for attempt in range(_OFFSPRING):
            a, b = self._population.parents(rng)
            yield self._toolbox.child(a, b, rng, strength=1.0 + attempt / 4), GA, rng

    def sampled(self, rng: random.Random) -> Iterator[Proposal]:
        """Random ones."""
        for _ in range(_RANDOM):
            yield self._space.sample(rng), RANDOM, rng

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
            yield genome, RANDOM, None
