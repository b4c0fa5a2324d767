"""The steady-state population: one comes in, the worst goes out."""

from __future__ import annotations

import random
from functools import partial

from ga.arguments import MOST_TRIALS
from ga.evolution.individual import Individual
from ga.evolution.survival import rate, survivors
from ga.evolution.toolbox import Toolbox
from ga.problem.finite import shortened


class Population:
    """The `size` survivors of all results so far, taken in one by one in order of completion.

    Folding one by one makes the members a function of the sequence of results alone, however many
    arrived between two requests; that is what a replay relies on.

    Args:
        size: number of members (mu of mu+1).
        toolbox: its `select` picks the survivors, its `select_parents` who breeds.
        seed: of what selections draw.
    """

    def __init__(self, size: int, toolbox: Toolbox, seed: object) -> None:
        self.size = size
        self._toolbox, self._seed = toolbox, seed
        self._members: list[Individual] = []
        self._waiting: list[Individual] = []
        self._ranked: list[Individual] = []

    def add(self, individual: Individual) -> None:
        """Take in a result; the selection is done when the members are next looked at."""
        self._waiting.append(individual)

    @property
    def members(self) -> list[Individual]:
        """The survivors, best first, with `rank` and `crowding` set."""
        for newcomer in self._waiting:
            # A repeated measurement of a genome replaces the earlier one: no clones.
            pool = [m for m in self._members if m != newcomer] + [newcomer]
            if len(pool) > self.size:
                # In order of arrival, whatever order the selection left: ties must fall the same
                # way in a replay.
                kept = {id(m) for m in self._survivors(pool, newcomer)}
                pool = [m for m in pool if id(m) in kept]
            self._members = pool
            self._ranked = []
        self._waiting = []
        if not self._ranked:
            self._ranked = rate(self._members)
        return self._ranked

    def _survivors(self, pool: list[Individual], newcomer: Individual) -> list[Individual]:
        rng = random.Random(f"select {self._seed} {newcomer.number}")
        return survivors(partial(self._toolbox.select, rng=rng), pool, self.size)

    def parents(self, rng: random.Random) -> list[Individual]:
        """Two members that shall breed."""
        chosen: list[Individual] = self._toolbox.select_parents(self.members, 2, rng=rng)
        return chosen


def population_size_for(budget: int | None, size: int | None = None) -> int:
    """The number of members that suits a budget of trials, unless one is given.

    Raises:
        ValueError: the given size is no whole number from 2 on.
    """
    if size is None:
        # About 5% of the trials did best on the NAS-Bench-201 table with the plain GA of the first
        # version; the runs were not kept. The bounds are choices.
        return 20 if budget is None else min(100, max(8, round(0.05 * budget)))
    if not isinstance(size, int) or isinstance(size, bool) or not 2 <= size <= MOST_TRIALS:
        raise ValueError(
            f"population_size={shortened(size)} should be a whole number from 2 on (to "
            f"{MOST_TRIALS}), or None"
        )
    return size
