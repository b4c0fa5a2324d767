"""Who stays in the population, and who breeds: selections in DEAP's form, with constraints.

Constrained domination (Deb et al. 2002): a feasible individual beats an infeasible one, two
infeasible ones compare by violation, two feasible ones by Pareto domination. DEAP's own
`ConstrainedFitness` does not do this (its `dominates` ignores the violation and `selNSGA2` cannot
hash it), so only the feasible part goes through a selection and the infeasible part is ordered in
`survivors`; the outcome is the same, because no infeasible one can be ranked before a feasible one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from deap import tools

from ga.evolution.global_random import borrowed
from ga.evolution.individual import Individual

#: `select(individuals, k)`, as DEAP has it: k of more than k feasible individuals.
Selection = Callable[[Sequence[Individual], int], Sequence[Individual]]

# From so many individuals on DEAP's divide and conquer is faster than comparing all pairs. A
# choice; not tuned.
_MANY = 100


def _sorting(individuals: Sequence[Individual]) -> str:
    """DEAP's name of the non-dominated sorting; divide and conquer needs two objectives."""
    many = len(individuals) > _MANY and len(individuals[0].losses) > 1
    return "log" if many else "standard"


def fronts(individuals: Sequence[Individual]) -> list[list[Individual]]:
    """Non-dominated fronts of feasible individuals, best first."""
    if not individuals:
        return []
    log = _sorting(individuals) == "log"
    sort = tools.sortLogNondominated if log else tools.sortNondominated
    return [list(front) for front in sort(individuals, len(individuals)) if front]


def rate(individuals: Sequence[Individual]) -> list[Individual]:
    """Set `rank` and `crowding` of all, and return them best first."""
    feasible = [i for i in individuals if not i.violation]
    rated: list[Individual] = []
    rank = 0
    for rank, front in enumerate(fronts(feasible), start=1):
        tools.emo.assignCrowdingDist(front)
        for individual in front:
            individual.rank = rank - 1
            individual.crowding = float(individual.fitness.crowding_dist)
        rated += sorted(front, key=lambda i: -i.crowding)
    infeasible = sorted((i for i in individuals if i.violation), key=lambda i: i.violation)
    for place, individual in enumerate(infeasible):
        individual.rank, individual.crowding = rank + place, 0.0
    return rated + infeasible


def survivors(select: Selection, individuals: Sequence[Individual], count: int) -> list[Individual]:
    """The `count` individuals that stay, by constrained domination.

    A selection that picks one individual twice (a tournament, NSGA-III) leaves places free; those
    go to the others in NSGA-II's order.

    Args:
        select: chooses among feasible ones, where there are more of them than places.
        individuals: all.
        count: number of places.
    """
    feasible = [i for i in individuals if not i.violation]
    if len(feasible) <= count:
        return rate(individuals)[:count]
    kept = {id(i): i for i in select(feasible, count)}
    if len(kept) < count:
        for individual in rate(feasible):
            kept.setdefault(id(individual), individual)
    return list(kept.values())[:count]


def nsga2(individuals: Sequence[Individual], k: int) -> list[Individual]:
    """NSGA-II (Deb et al. 2002): the best k by front, then by crowding distance."""
    return list(tools.selNSGA2(individuals, k, nd=_sorting(individuals)))


def nsga3(individuals: Sequence[Individual], k: int) -> list[Individual]:
    """NSGA-III (Deb & Jain 2014), for three objectives and more; it may give fewer than k."""
    m = len(individuals[0].losses)
    divisions = 1
    while m > 1 and math.comb(divisions + m, m - 1) <= k:
        divisions += 1
    points = tools.uniform_reference_points(m, divisions)
    with borrowed():
        np.random.seed(len(individuals) + individuals[-1].number)
        try:
            chosen = tools.selNSGA3(individuals, k, points, nd="log" if m > 1 else "standard")
        except (np.linalg.LinAlgError, IndexError, ValueError):
            # Degenerate fronts (an objective that is constant) leave DEAP without a hyperplane.
            chosen = []
    return list(chosen)


def hypervolume(individuals: Sequence[Individual], k: int) -> list[Individual]:
    """SMS-EMOA (Beume et al. 2007): out of the last front goes who adds the least volume."""
    chosen: list[Individual] = []
    for front in fronts(individuals):
        while len(chosen) + len(front) > k and front:
            front.pop(_least(front))
        chosen += front
    return chosen


def _least(front: Sequence[Individual]) -> int:
    """Place of the individual with the smallest own share of the hypervolume."""
    import moocore  # late: only this survival needs it

    losses = np.array([i.losses for i in front], dtype=float)
    ideal, worst = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - ideal) / np.where(worst > ideal, worst - ideal, 1.0)
    # A reference a little beyond the worst gives the extremes a share too; 1.1 is usual.
    shares = moocore.hv_contributions(scaled, ref=np.full(losses.shape[1], 1.1))
    return int(np.argmin(shares))


SURVIVALS: dict[str, Selection] = {"nsga2": nsga2, "nsga3": nsga3, "hypervolume": hypervolume}


def tournament(individuals: Sequence[Individual], k: int, rng: random.Random) -> list[Individual]:
    """Parents by binary tournament: the better front, then the less crowded place.

    DEAP's `selTournamentDCD` compares by domination, which is blind to violations.
    """
    chosen = []
    for _ in range(k):
        a, b = rng.choice(individuals), rng.choice(individuals)
        chosen.append(a if (a.rank, -a.crowding) <= (b.rank, -b.crowding) else b)
    return chosen
