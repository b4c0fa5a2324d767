"""What a search asks for by its `strategy`, a function for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ga.design.calibrated_design import informed
from ga.design.initial_design import design_size
from ga.evaluation import DE, GA, GRADIENT, KNAPSACK, REINFORCE
from ga.evolution.candidate_sources import DependentDesign
from ga.problem.finite import shortened
from ga.problem.knapsack import Knapsack
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.strategies.differential_evolution import DifferentialEvolution
from ga.strategies.given_points import Neighbours
from ga.strategies.reinforce import Reinforce


@dataclass(frozen=True)
class Search:
    """What a strategy is chosen for.

    Attributes:
        space: what is searched.
        sensitivities: maybe of genes.
        costs: maybe known.
        objectives: what is optimized.
        constraints: all of them.
        canonical: genome -> the one that would be asked for in its place.
        population_size: number of survivors.
        surrogate: its name, `none` for no surrogate.
        initial: the user's points.
        seed: of everything random.
    """

    space: SearchSpace
    sensitivities: Sensitivities
    costs: KnownCosts
    objectives: Objectives
    constraints: Sequence[Constraint]
    canonical: Callable[[Genome], Genome]
    population_size: int
    surrogate: str
    initial: Sequence[Mapping[str, object]]
    seed: int


@dataclass(frozen=True)
class Plan:
    """What a search asks for, and in which order.

    Attributes:
        design: how many first candidates there are, the user's points among them.
        proposals: what comes next, where the strategy has a say of its own.
        alone: whether nothing follows then but chance: no surrogate, no genetic operators.
        knapsack: its solutions are in the surrogate's pools.
    """

    design: int
    proposals: DependentDesign | None
    alone: bool = True
    knapsack: Knapsack | None = None


def _ga(search: Search, strategy: str = GA) -> Plan:
    knapsack, calibrated = informed(
        search.space, search.sensitivities, search.costs, search.objectives, search.constraints,
        search.canonical, strategy, search.seed,
    )  # fmt: skip
    if calibrated is None:
        return Plan(_design_size(search), None, alone=False, knapsack=knapsack)
    return Plan(0, calibrated.proposals, alone=False, knapsack=knapsack)


def _knapsack(search: Search) -> Plan:
    return _ga(search, KNAPSACK)


def _de(search: Search) -> Plan:
    size = search.population_size
    return Plan(size, DifferentialEvolution(search.space, size, search.seed).proposals)


def _reinforce(search: Search) -> Plan:
    policy = Reinforce(
        search.space, search.objectives, search.constraints, search.costs, search.seed
    )
    return Plan(_design_size(search), policy.proposals)


def _gradient(search: Search) -> Plan:
    if not search.initial:
        raise ValueError(
            "strategy='gradient' tries the points of 'initial', and there are none: "
            "`joint-ga supernet-seeds` writes them"
        )
    return Plan(0, Neighbours(search.space, search.seed).proposals)


def _design_size(search: Search) -> int:
    return design_size(search.population_size, search.surrogate)


STRATEGIES: dict[str, Callable[[Search], Plan]] = {
    GA: _ga,
    KNAPSACK: _knapsack,
    GRADIENT: _gradient,
    REINFORCE: _reinforce,
    DE: _de,
}


def check_strategy(strategy: object) -> None:
    """Raise where there is no such strategy.

    Raises:
        ValueError: it names those that there are.
    """
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise ValueError(f"strategy={shortened(strategy)} (allowed: {', '.join(STRATEGIES)})")


def plan_of(strategy: str, search: Search) -> Plan:
    """The plan of a search.

    Raises:
        ValueError: an unknown strategy, or one that lacks what it needs.
    """
    check_strategy(strategy)
    return STRATEGIES[strategy](search)
