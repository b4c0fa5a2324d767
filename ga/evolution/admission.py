"""What becomes of a proposed genome: its canonical form, new and within the limits, or nothing."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from ga.evaluation import INITIAL
from ga.evolution.repair import Repair
from ga.evolution.useless_alleles import UselessAlleles
from ga.messages import Messages
from ga.problem.duplicates import Duplicates, Phenotype
from ga.problem.known_costs import KnownCosts, broken_limits
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, Params, SearchSpace
from ga.problem.uniform_settings import corners


class Admitted(NamedTuple):
    """A genome that may be asked for, with its parameters, known costs and key."""

    genome: Genome
    params: Params
    costs: dict[str, float] | None
    key: Hashable


class Admission:
    """Lets a genome through at most once, and mends one that breaks a limit on a known cost.

    Args:
        space: the search space.
        objectives: what is optimized.
        constraints: all of them; those on unknown metrics don't count here.
        costs: known costs.
        phenotype: params -> hashable; None: the genome decides what is the same.
        seed: of the mending.
        messages: where trouble is said.

    Attributes:
        duplicates: tells which candidates there were.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Objectives,
        constraints: Sequence[Constraint],
        costs: KnownCosts,
        phenotype: Phenotype | None,
        seed: object,
        messages: Messages,
    ) -> None:
        self._space, self._constraints, self._costs = space, constraints, costs
        self._messages = messages
        self.duplicates = Duplicates(space, phenotype, messages)
        self._useless = UselessAlleles(space, costs, objectives, constraints, seed, messages)
        self._repair = Repair(space, constraints, costs, corners(space), seed)

    def canonical(self, genome: Genome) -> Genome:
        """The genome that would be asked for in the place of this one."""
        return self._useless.canonical(genome)

    def admit(self, genome: Genome, origin: str, mender: random.Random | None) -> Admitted | None:
        """A genome in its canonical form, if it is new and within the limits.

        Args:
            genome: as proposed; the user's own points stay as they are.
            origin: where it comes from.
            mender: source of randomness to mend it with; None drops it if it breaks a limit.

        Raises:
            UnsatisfiableConstraint: it needs mending, and no genome keeps the limits.
        """
        if origin != INITIAL:
            genome = self.canonical(genome)
        genome = self._space.settled(genome)
        params = self._space.decode(genome)
        key = self.duplicates.key(genome, params)
        if key in self.duplicates.seen:
            return None
        costs = self._costs.of(params)
        if broken_limits(self._constraints, costs):
            if mender is not None:
                return self.admit(self._repair.repair(genome, mender), origin, None)
            if origin == INITIAL:
                self._messages.once(
                    f"initial {key}", f"initial point {params} breaks a limit: skipped"
                )
            return None
        return Admitted(genome, params, costs, key)

    def check_satisfiable(self) -> None:
        """Raise where the limits on known costs leave nothing.

        Raises:
            UnsatisfiableConstraint: they do; the message names them.
        """
        if self._costs and not self.duplicates.seen:
            self._repair.anchors()
