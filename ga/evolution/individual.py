"""A chromosome in the form that DEAP's operators take: a list of alleles with a fitness."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from deap import base

from ga.evaluation import Losses
from ga.problem.genes import Allele
from ga.problem.search_space import Genome


@cache
def loss_fitness(objectives: int) -> type[Any]:
    """The class of a DEAP fitness with so many values, every one of which is minimized.

    It is what `deap.creator.create("Fitness", base.Fitness, weights=(-1.0, ...))` makes, without
    a name in DEAP's global module.
    """
    return type("LossFitness", (base.Fitness,), {"weights": (-1.0,) * objectives})


class Individual(list[Allele]):
    """A list of alleles, in the order of the search space's loci.

    Args:
        alleles: one for each locus.
        fitness: of a class that `loss_fitness` gives; not valid while there is no result.
        violation: of the constraints; 0 if feasible.
        number: of the evaluation.

    Attributes:
        rank: index of its non-dominated front; infeasible ones come after all fronts.
        crowding: NSGA-II's crowding distance within that front.
    """

    def __init__(
        self,
        alleles: Iterable[Allele],
        fitness: Any,
        violation: float = 0.0,
        number: int = 0,
    ) -> None:
        super().__init__(alleles)
        self.fitness = fitness
        self.violation = violation
        self.number = number
        self.rank = 0
        self.crowding = 0.0

    @property
    def genome(self) -> Genome:
        """The chromosome, as a key for dicts and sets."""
        return tuple(self)

    @property
    def losses(self) -> Losses:
        """Objective values, smaller is better."""
        values: Losses = self.fitness.values
        return values
