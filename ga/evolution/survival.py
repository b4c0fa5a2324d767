"""Who stays in the population: NSGA-II, NSGA-III or hypervolume selection, with constraints.

Constrained domination (Deb et al. 2002): a feasible individual beats an infeasible one, two
infeasible ones compare by violation, two feasible ones by Pareto domination. DEAP's own
`ConstrainedFitness` does not do this (its `dominates` ignores the violation and `selNSGA2` cannot
hash it), so the feasible part goes through DEAP's selection and the infeasible part is ordered
here; the outcome is the same, because no infeasible one can be ranked before a feasible one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from deap import base, tools

from ga.problem.search_space import Genome

Losses = tuple[float, ...]


class LossFitness(base.Fitness):  # type: ignore[misc]  # DEAP is not typed
    """A DEAP fitness of which every value is minimized."""

    def __init__(self, losses: Losses) -> None:
        self.weights = (-1.0,) * len(losses)
        super().__init__(losses)


@dataclass(eq=False)
class Individual:
    """A member of the population, in the form that DEAP's operators take.

    Attributes:
        id: number of the evaluation.
        genome: its chromosome.
        losses: objective values, smaller is better.
        violation: 0 if feasible.
        rank: index of its non-dominated front; infeasible ones come after all fronts.
        crowding: NSGA-II's crowding distance within that front.
    """

    id: int
    genome: Genome
    losses: Losses
    violation: float = 0.0
    rank: int = 0
    crowding: float = 0.0
    fitness: LossFitness = field(init=False)

    def __post_init__(self) -> None:
        self.fitness = LossFitness(self.losses)

    def beats(self, other: Individual) -> bool:
        """Constrained domination."""
        if self.violation or other.violation:
            return self.violation < other.violation
        return dominates(self.losses, other.losses)


Survival = Callable[[Sequence[Individual], int], list[Individual]]


def dominates(a: Losses, b: Losses) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def fronts(individuals: Sequence[Individual]) -> list[list[Individual]]:
    """Non-dominated fronts of feasible individuals, best first."""
    if not individuals:
        return []
    # DEAP's divide and conquer pays off from a hundred on, and needs two objectives.
    if len(individuals) > 100 and len(individuals[0].losses) > 1:
        sort = tools.sortLogNondominated
    else:
        sort = tools.sortNondominated
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


def nsga2(individuals: Sequence[Individual], count: int) -> list[Individual]:
    """The best `count` by front, then crowding distance (Deb et al. 2002), through DEAP."""
    feasible = [i for i in individuals if not i.violation]
    if len(feasible) <= count:
        return rate(individuals)[:count]
    nd = "log" if len(feasible) > 100 and len(feasible[0].losses) > 1 else "standard"
    return list(tools.selNSGA2(feasible, count, nd=nd))


def nsga3(individuals: Sequence[Individual], count: int) -> list[Individual]:
    """NSGA-III (Deb & Jain 2014) through DEAP, for three objectives and more.

    DEAP shuffles with numpy's global generator and may return one individual twice: the generator
    is seeded for the call and put back, and missing places are filled by NSGA-II's order.
    """
    feasible = [i for i in individuals if not i.violation]
    if len(feasible) <= count:
        return rate(individuals)[:count]
    m = len(feasible[0].losses)
    divisions = 1
    while m > 1 and math.comb(divisions + m, m - 1) <= count:
        divisions += 1
    points = tools.uniform_reference_points(m, divisions)
    state = np.random.get_state()
    np.random.seed(len(feasible) + feasible[-1].id)
    try:
        chosen = tools.selNSGA3(feasible, count, points, nd="log" if m > 1 else "standard")
    except (np.linalg.LinAlgError, IndexError, ValueError):
        # Degenerate fronts (an objective that is constant) leave DEAP without a hyperplane.
        chosen = []
    finally:
        np.random.set_state(state)
    kept = {id(i): i for i in chosen}
    for individual in rate(feasible):
        if len(kept) >= count:
            break
        kept.setdefault(id(individual), individual)
    return list(kept.values())[:count]


def hypervolume_selection(individuals: Sequence[Individual], count: int) -> list[Individual]:
    """SMS-EMOA (Beume et al. 2007): out of the last front goes who adds the least volume."""
    ranked = [list(f) for f in fronts([i for i in individuals if not i.violation])]
    infeasible = sorted((i for i in individuals if i.violation), key=lambda i: i.violation)
    chosen: list[Individual] = []
    for front in ranked:
        while len(chosen) + len(front) > count and front:
            front.pop(_least(front))
        chosen += front
    return (chosen + infeasible)[:count]


def _least(front: Sequence[Individual]) -> int:
    """Place of the individual with the smallest own share of the hypervolume."""
    import moocore  # late: only this survival needs it

    losses = np.array([i.losses for i in front], dtype=float)
    ideal, worst = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - ideal) / np.where(worst > ideal, worst - ideal, 1.0)
    shares = moocore.hv_contributions(scaled, ref=np.full(losses.shape[1], 1.1))
    return int(np.argmin(shares))


SURVIVALS: dict[str, Survival] = {
    "nsga2": nsga2,
    "nsga3": nsga3,
    "hypervolume": hypervolume_selection,
}
