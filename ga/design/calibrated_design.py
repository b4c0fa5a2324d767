"""The first candidates where sensitivities and costs are known: each is chosen by those before.

A sum of sensitivities ranks compressions but says little of how much trained networks lose. One
number mends that: the loss is `factor` times the sum. Each result tells more of the factor, so the
search finds within a few trials where a limit on quality lies, as a bisection would.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ga.acquisition.improvement import ImprovementRegion
from ga.arrays import Array
from ga.evaluation import KNAPSACK
from ga.history.results import Results
from ga.problem.knapsack import Knapsack, knapsack_of
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.surrogate import Forecast

# Results from which on the predictors take over.
CALIBRATED = 12
# Before the first result: post-training losses are about three times those of trained networks,
# and deviations of logarithms: of that factor, of one network from the law, and of the factors by
# which genes are misjudged, which keeps the candidates from lying on one line. Choices, made on the
# wide spaces of benchmarks/search.
_FACTOR, _UNSURE = 1.0 / 3.0, 0.8
_SCATTER = 0.4
_DOUBT = 0.3
# A training's own scatter, as a share of what the first candidates span.
_NOISE = 0.1
_DIRECTIONS = 8
_ROUNDS = 5


def informed(
    space: SearchSpace,
    sensitivities: Sensitivities,
    costs: KnownCosts,
    objectives: Objectives,
    constraints: Sequence[Constraint],
    canonical: Callable[[Genome], Genome],
    strategy: str,
    seed: int,
) -> tuple[Knapsack | None, CalibratedDesign | None]:
    """The knapsack and the design of a search, where enough is known for them.

    Args:
        space: the search space.
        sensitivities: maybe of genes.
        costs: maybe known.
        objectives: what is optimized.
        constraints: all of them.
        canonical: genome -> the one that would be asked for in its place.
        strategy: `ga`, or `knapsack` for the design alone.
        seed: of everything random.

    Raises:
        ValueError: the strategy lacks what it needs.
    """
    knapsack = knapsack_of(space, sensitivities, costs, objectives, constraints)
    only = strategy == KNAPSACK
    if knapsack is not None:
        design = CalibratedDesign(
            space, knapsack, objectives, constraints, costs, canonical, only, seed
        )
        if design.is_usable:
            return knapsack, design
    if only:
        raise ValueError(
            "strategy='knapsack' needs costs, sensitivities of genes ({gene: {value: loss}}), and "
            "exactly one objective that is not a known cost"
        )
    return knapsack, None


class CalibratedDesign:
    """Proposes solutions of the knapsack by what they are expected to gain.

    Args:
        space: the search space.
        knapsack: of it.
        objectives: one of them is not known before a trial, the others are costs.
        constraints: all of them.
        costs: known costs.
        canonical: genome -> the one that would be asked for in its place.
        only: whether nothing else proposes candidates, however many results there are.
        seed: of everything random.
    """

    def __init__(
        self,
        space: SearchSpace,
        knapsack: Knapsack,
        objectives: Objectives,
        constraints: Sequence[Constraint],
        costs: KnownCosts,
        canonical: Callable[[Genome], Genome],
        only: bool,
        seed: int,
    ) -> None:
        self._space, self._knapsack, self._costs = space, knapsack, costs
        self._objectives, self._canonical, self._only = objectives, canonical, only
        self._seed = seed
        self._limits = np.array(objectives.limits(constraints))
        unknown = [j for j, name in enumerate(objectives.names) if name not in costs.metrics]
        self.is_usable = len(unknown) == 1 and knapsack.goals == len(objectives.names) - 1
        self._unknown = unknown[0] if unknown else 0
        self._base, self._factor, self._deviation = 0.0, _FACTOR, _UNSURE

    def proposals(
        self, number: int, results: Results, is_new: Callable[[Genome], bool]
    ) -> Iterator[tuple[Genome, str, random.Random | None]]:
        """Genomes as `ga.evolution.candidate_sources` takes them; none once predictors know more.

        Args:
            number: of the candidate that is asked for.
            results: so far.
            is_new: whether a genome was not asked before.
        """
        if self._only or len(results.archive.scored) < CALIBRATED:
            rng = random.Random(f"knapsack {self._seed}:{number}")
            for genome in self.propose(rng, results, is_new):
                yield genome, KNAPSACK, rng

    def propose(
        self, rng: random.Random, results: Results, is_new: Callable[[Genome], bool]
    ) -> Iterator[Genome]:
        """New genomes within the limits on known costs, the most promising first.

        Args:
            rng: source of randomness.
            results: so far.
            is_new: whether a genome was not asked before.
        """
        mildest = self._canonical(self._knapsack.mildest)
        if is_new(mildest):
            yield mildest
        known = [
            (results.genomes[number], scored.losses)
            for number, scored in results.archive.scored.items()
            if number in results.genomes
        ]
        if not known:
            return
        self._calibrate(known, mildest)
        pool, costs = self._pool(np.random.default_rng(rng.getrandbits(32)), is_new)
        if not pool:
            return
        running = [
            (results.genomes[number], candidate.costs or {})
            for number, candidate in results.pending.items()
            if number in results.genomes
        ]
        region = ImprovementRegion(
            np.array([scored.losses for scored in results.archive.front()]),
            np.vstack([np.array([losses for _, losses in known]), self._extremes()]),
            self._limits,
            self._forecast(*zip(*running, strict=True)) if running else None,
        )
        gains = region.gains(*region.scaled(self._forecast(pool, costs)))
        yield from (pool[k] for k in np.argsort(-gains, kind="stable"))

    def _calibrate(self, known: Sequence[tuple[Genome, Sequence[float]]], mildest: Genome) -> None:
        """The factor as a weighted mean of logarithms; what lies within the noise counts little."""
        losses = np.array([row[self._unknown] for _, row in known])
        at_mildest = [
            loss for (genome, _), loss in zip(known, losses, strict=True) if genome == mildest
        ]
        self._base = float(at_mildest[0]) if at_mildest else float(losses.min())
        sums = self._knapsack.lost([genome for genome, _ in known])
        sums, gaps = sums[sums > 0], (losses - self._base)[sums > 0]
        limit = self._limits[self._unknown] - self._base
        noise = _NOISE * (limit if np.isfinite(limit) and limit > 0 else float(np.ptp(losses)))
        self._factor, precision = _FACTOR, 1.0 / _UNSURE**2
        for _ in range(_ROUNDS if len(sums) else 0):
            expected = self._factor * sums
            weights = 1.0 / (_SCATTER**2 + (noise / expected) ** 2)
            logs = np.log(np.maximum(gaps, 0.2 * expected) / sums)
            total = float(weights.sum()) + precision
            self._factor = float(np.exp((weights @ logs + precision * np.log(_FACTOR)) / total))
            self._deviation = total**-0.5

    def _pool(
        self, generator: np.random.Generator, is_new: Callable[[Genome], bool]
    ) -> tuple[list[Genome], list[dict[str, float]]]:
        as_measured = np.ones((_DIRECTIONS, len(self._knapsack.loci)))
        drawn = self._knapsack.drawn(generator, as_measured, _SCATTER)
        fresh = [genome for genome in dict.fromkeys(map(self._canonical, drawn)) if is_new(genome)]
        costs = self._costs.of_many([self._space.decode(genome) for genome in fresh])
        kept = [
            (genome, cost)
            for genome, cost in zip(fresh, costs, strict=True)
            if self._costs.metrics <= cost.keys() and self._knapsack.keeps_limits(cost)
        ]
        return [genome for genome, _ in kept], [cost for _, cost in kept]

    def _forecast(
        self, genomes: Sequence[Genome], costs: Sequence[Mapping[str, float]]
    ) -> Forecast:
        names, signs = self._objectives.names, self._objectives.signs
        pairs = list(zip(names, signs, strict=True))
        mean = np.array([[sign * c.get(name, np.nan) for name, sign in pairs] for c in costs])
        deviation, floor = np.zeros_like(mean), np.full(len(names), -np.inf)
        lost = self._factor * self._knapsack.lost(genomes)
        mean[:, self._unknown] = self._base + lost
        deviation[:, self._unknown] = lost * np.hypot(self._deviation, _DOUBT)
        floor[self._unknown] = self._base
        known = np.isfinite(mean).all(axis=1)
        count = len(genomes)
        return Forecast(
            np.nan_to_num(mean), deviation, np.zeros(count), np.ones(count), floor, known
        )

    def _extremes(self) -> Array:
        """Losses between which a front may lie: nothing compressed, and as much as is allowed."""
        ends = [self._knapsack.mildest, self._knapsack.smallest]
        costs = [self._costs.of(self._space.decode(genome)) or {} for genome in ends]
        rows = self._forecast(ends, costs).mean
        rows[1, self._unknown] = min(rows[1, self._unknown], self._limits[self._unknown])
        return rows
