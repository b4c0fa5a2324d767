"""The way from nothing compressed to everything, by measured sensitivities and known costs."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from ga.arrays import Array
from ga.evolution.variation import mutant
from ga.problem.genes import Ordered
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities

# Genes that a neighbour of the path has changed, on average. A choice; not tuned.
_STRENGTH = 2.0


def greedy_path(
    space: SearchSpace,
    corners: Sequence[Genome],
    sensitivities: Sensitivities,
    costs: KnownCosts,
    objectives: Objectives,
) -> GreedyPath | None:
    """The greedy path of a space, where costs and the sensitivities of genes are known.

    Args:
        space: the search space.
        corners: of it, nothing compressed first.
        sensitivities: maybe of genes.
        costs: maybe known.
        objectives: those that are costs to be minimized are saved.
    """
    if not sensitivities.genes or not corners or not costs.of(space.decode(corners[0])):
        return None
    pairs = zip(objectives.names, objectives.signs, strict=True)
    goals = [name for name, sign in pairs if sign > 0 and name in costs.metrics]
    found = GreedyPath(space, corners[0], sensitivities, costs, goals) if goals else None
    return found if found is not None and len(found.genomes) > 1 else None


class GreedyPath:
    """Compresses step by step, first where most is saved for what is lost.

    Each gene's values are points of cost saved and quality lost, both alone; the steps between the
    corners of their lower convex hulls, taken in order of their slopes, are the greedy solution of
    the multiple-choice knapsack (Sinha & Zoltners 1979) that choosing compressions for a budget is
    if savings and losses add up.

    Args:
        space: the search space.
        start: nothing compressed.
        sensitivities: losses by gene and value.
        costs: known costs.
        goals: those of the costs that are to be minimized.

    Attributes:
        genomes: from `start` to everything compressed that saves anything.
    """

    def __init__(
        self,
        space: SearchSpace,
        start: Genome,
        sensitivities: Sensitivities,
        costs: KnownCosts,
        goals: Sequence[str],
    ) -> None:
        self._space = space
        steps = _steps(space, start, sensitivities, costs, goals)
        genome = list(start)
        self.genomes = [start]
        for _, locus, allele in sorted(steps):
            genome[locus] = allele
            self.genomes.append(tuple(genome))
        left = _shares(space, self.genomes, costs, goals)
        self._places = (left[0] - left) / (left[0] - left[-1])

    def neighbours(self, count: int, seed: object) -> list[Genome]:
        """Genomes near the path, at even steps of the costs, with a few genes changed."""
        # The word belongs to the seed: another one would change every search.
        rng = random.Random(f"staircase {seed}")
        places = [(k + rng.random()) / count for k in range(count)]
        return [mutant(self._at(place), self._space, rng, _STRENGTH) for place in places]

    def _at(self, place: float) -> Genome:
        """The genome at a place of the path, from 0 to 1 by costs saved."""
        return self.genomes[int(np.argmin(np.abs(self._places - place)))]


def _shares(
    space: SearchSpace, genomes: Sequence[Genome], costs: KnownCosts, goals: Sequence[str]
) -> Array:
    """Costs as shares of those of the first genome, the mean over the goals; NaN if unknown."""
    found = costs.of_many([space.decode(genome) for genome in genomes])
    table = np.array([[row.get(goal, np.nan) for goal in goals] for row in found], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((table / table[0]).mean(axis=1))


def _steps(
    space: SearchSpace,
    start: Genome,
    sensitivities: Sensitivities,
    costs: KnownCosts,
    goals: Sequence[str],
) -> list[tuple[float, int, int]]:
    """Slope, locus and allele of each step."""
    places: list[tuple[int, int, float]] = []
    genomes = [start]
    for i, locus in enumerate(space.loci):
        gene = locus.gene
        if not isinstance(gene, Ordered) or gene.name not in sensitivities.genes:
            continue
        losses = sensitivities.losses(gene.name, np.array(gene.values, dtype=float))
        for allele in range(len(gene.values)):
            if allele != start[i]:
                places.append((i, allele, float(losses[allele])))
                genomes.append((*start[:i], allele, *start[i + 1 :]))
    saved = 1.0 - _shares(space, genomes, costs, goals)[1:]
    steps: list[tuple[float, int, int]] = []
    for i in {place[0] for place in places}:
        points = [
            (float(s), loss, allele)
            for (j, allele, loss), s in zip(places, saved, strict=True)
            if j == i and s > 0
        ]
        steps += [(slope, i, allele) for slope, allele in _hull(points)]
    return steps


def _hull(points: Sequence[tuple[float, float, int]]) -> list[tuple[float, int]]:
    """Slopes and alleles of the lower convex hull from the origin: what is lost per saving."""
    found: list[tuple[float, int]] = []
    at, lost = 0.0, 0.0
    left = sorted(points)
    while left:
        slope, best = min(((p[1] - lost) / (p[0] - at), -k) for k, p in enumerate(left))
        at, lost, allele = left[-best]
        found.append((slope, allele))
        left = [p for p in left if p[0] > at]
    return found
