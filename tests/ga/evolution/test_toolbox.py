"""Operators in DEAP's form: swapped by path, seeded, checked, and without traces outside."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
from deap import tools

from ga import Categorical, Integer, Normal, Optimizer, Ordered, Real, SearchSpace
from ga.evolution.individual import Individual
from ga.evolution.survival import nsga2
from ga.evolution.toolbox import Toolbox
from ga.messages import Messages
from support.spaces import GOALS, bits_space, mixed_space, size_only, truth


def toolbox(space: SearchSpace, **operators: Any) -> Toolbox:
    return Toolbox(space, 2, nsga2, operators, Messages())


def asked(optimizer: Optimizer, trials: int = 40) -> list[dict[str, Any]]:
    found = []
    for _ in range(trials):
        candidate = optimizer.ask()
        found.append(candidate.params)
        optimizer.tell(candidate.id, truth(candidate.params))
    return found


def flip(individual: list[Any]) -> tuple[list[Any]]:
    """Draws from both global generators, as DEAP's operators do."""
    at = random.randrange(len(individual))
    individual[at] = int(np.random.randint(2))
    return (individual,)


def alternating() -> Any:
    """A mutation that behaves while it is tried out, and leaves the space later on."""
    calls = iter(range(10**6))

    def mutate(individual: list[Any]) -> tuple[list[Any]]:
        individual[0] = 99 if next(calls) > 20 else 0
        return (individual,)

    return mutate


DEAPS = {
    "mate": "deap.tools:cxTwoPoint",
    "mutate": {"function": "deap.tools:mutUniformInt", "low": 0, "up": 1, "indpb": 0.2},
}


# ---- swapping


def test_an_operator_of_deap_is_swapped_in_by_its_path() -> None:
    space = bits_space(4)
    box = toolbox(space, mutate={"function": "deap.tools:mutShuffleIndexes", "indpb": 0.0})
    rng = random.Random(0)
    genome = space.sample(rng)
    assert box.child(genome, genome, rng) == genome, "nothing crosses over, nothing is shuffled"
    assert toolbox(space).child(genome, genome, rng) != genome


def test_mate_by_path_cuts_anywhere() -> None:
    space, rng = bits_space(4), random.Random(0)
    low, high = (0,) * len(space), tuple((locus.gene.size or 1) - 1 for locus in space.loci)
    still = {"function": "deap.tools:mutShuffleIndexes", "indpb": 0.0}
    children = [
        toolbox(space, mate="deap.tools:cxOnePoint", mutate=still).child(low, high, rng)
        for _ in range(30)
    ]
    cuts = {sum(a == b for a, b in zip(child, low, strict=True)) for child in children}
    assert any(cut % 3 for cut in cuts), "within a layer, where this search's own never cuts"


def test_deaps_own_line_swaps_an_operator_too() -> None:
    optimizer = Optimizer(bits_space(), GOALS, surrogate="none", population_size=4)
    optimizer.toolbox.register("mutate", tools.mutUniformInt, low=0, up=0, indpb=1.0)
    space = optimizer.space
    child = optimizer.toolbox.child(space.nth(5), space.nth(9), random.Random(0))
    assert child == (0,) * len(space)
    with pytest.raises(ValueError, match=r"mutate=.*mutUniformInt returned a genome outside"):
        optimizer.toolbox.register("mutate", tools.mutUniformInt, low=7, up=9, indpb=1.0)
    assert optimizer.toolbox.child(space.nth(5), space.nth(9), random.Random(0)) == child


def test_decorated_operators_keep_their_checks_and_their_generator() -> None:
    space, seen = bits_space(), []

    def counted(function: Any) -> Any:
        def wrapper(*args: Any, **kargs: Any) -> Any:
            seen.append(len(args))
            return function(*args, **kargs)

        return wrapper

    box = toolbox(space)
    box.decorate("mutate", counted)
    before = len(seen)
    a, b = space.nth(100), space.nth(2000)
    runs = [[box.child(a, b, random.Random(s)) for s in range(9)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 5
    assert len(seen) == before + 18


def test_individuals_are_deaps() -> None:
    box = toolbox(mixed_space())
    individual = box.individual(mixed_space().sample(random.Random(0)))
    assert isinstance(individual, list)
    assert not individual.fitness.valid
    individual.fitness.values = (1.0, 2.0)
    clone = box.clone(individual)
    clone[0] = 2
    del clone.fitness.values
    assert individual.fitness.valid
    assert individual.losses == (1.0, 2.0)
    assert individual.fitness.weights == (-1.0, -1.0)


@pytest.mark.parametrize("surrogate", ["none", "gp"])
def test_a_search_with_deaps_operators(surrogate: str) -> None:
    options = {"surrogate": surrogate, "costs": size_only, "toolbox": DEAPS, "seed": 3}
    trials = 30 if surrogate == "none" else 15

    def search(**other: Any) -> list[dict[str, Any]]:
        return asked(Optimizer(bits_space(), GOALS, **{**options, **other}), trials)

    found = search()
    assert found == search(), "seeded"
    assert found != search(seed=4)
    assert found != search(toolbox=None)


def test_selections_of_deap() -> None:
    selections: dict[str, Any] = {
        "select": "deap.tools:selSPEA2",
        "select_parents": {"function": "deap.tools:selTournament", "tournsize": 3},
        "select_forecasts": tools.selRandom,
    }
    first = Optimizer(bits_space(), GOALS, costs=size_only, toolbox=selections)
    found = asked(first)
    again = Optimizer.replay(
        bits_space(), GOALS, first.evaluations, costs=size_only, toolbox=selections
    )
    assert [again.ask().params for _ in range(3)] == [first.ask().params for _ in range(3)]
    assert found != asked(Optimizer(bits_space(), GOALS, costs=size_only))


def test_a_selection_sees_feasible_individuals_only() -> None:
    seen: list[float] = []

    def last(individuals: list[Individual], k: int) -> list[Individual]:
        seen.extend(i.violation for i in individuals)
        return individuals[-k:]

    optimizer = Optimizer(
        bits_space(),
        GOALS,
        {"accuracy": ">= 0.75"},
        surrogate="none",
        population_size=8,
        toolbox={"select": last},
    )
    asked(optimizer, 60)
    assert set(seen) == {0.0}
    assert len(optimizer.front()) > 0


def test_an_own_operator_gets_what_it_names() -> None:
    def mutate(
        individual: list[Any], space: SearchSpace, rng: random.Random, strength: float
    ) -> tuple[list[Any]]:
        individual[:] = space.sample(rng)
        strengths.append(strength)
        return (individual,)

    strengths: list[float] = []
    box = toolbox(bits_space(), mutate=mutate)
    a = bits_space().nth(0)
    assert box.child(a, a, random.Random(1), 2.5) == box.child(a, a, random.Random(1), 2.5)
    assert strengths[-1] == 2.5


# ---- global state


@pytest.mark.parametrize("seed", [0, 1])
def test_the_global_generators_are_left_alone(seed: int) -> None:
    def drawn(*, search: bool) -> list[float]:
        random.seed(seed)
        np.random.seed(seed)
        if search:
            asked(Optimizer(bits_space(), GOALS, surrogate="none", toolbox={"mutate": flip}))
        return [random.random(), float(np.random.random())]

    assert drawn(search=True) == drawn(search=False)


def test_the_global_generators_are_put_back_after_an_error() -> None:
    def crash(individual: list[Any]) -> Any:
        random.seed(1)
        np.random.seed(1)
        raise KeyError("layer")

    state, numpy_state = random.getstate(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"mutate=.*crash raised KeyError: 'layer'"):
        Optimizer(bits_space(), GOALS, toolbox={"mutate": crash})
    assert random.getstate() == state
    assert (np.random.get_state()[1] == numpy_state).all()  # type: ignore[index]


def test_what_the_caller_seeds_does_not_matter() -> None:
    runs = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        options: dict[str, Any] = {"surrogate": "none", "toolbox": {"mutate": flip}}
        runs.append(asked(Optimizer(bits_space(), GOALS, **options)))
    assert runs[0] == runs[1]


def test_searches_in_two_threads_are_the_same_as_one_after_the_other() -> None:
    def run(seed: int) -> None:
        optimizer = Optimizer(
            bits_space(), GOALS, surrogate="none", seed=seed, toolbox={"mutate": flip}
        )
        found[seed] = asked(optimizer, 80)

    alone: dict[int, Any] = {}
    together: dict[int, Any] = {}
    found = alone
    for seed in range(4):
        run(seed)
    found = together
    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


# ---- bad operators


def no_tuple(individual: list[Any]) -> list[Any]:
    return individual


def shorter(individual: list[Any]) -> tuple[list[Any]]:
    return (individual[1:],)


def copies(individuals: list[Any], k: int) -> list[Any]:
    return [list(i) for i in individuals[:k]]


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ({"mutation": flip}, "no operator is named 'mutation' .allowed: mate, mutate, select"),
        ({"mutate": 7}, "mutate=7 is not callable"),
        ({"mutate": {"indpb": 0.1}}, "mutate={'indpb': 0.1} is not callable"),
        ({"mate": "deap.tools.cxTwoPoint"}, "should be 'module:function'"),
        ({"mate": "deap.tools:cxThreePoint"}, "mate='deap.tools:cxThreePoint' can't be imported"),
        ({"mate": "no_such_module:f"}, "can't be imported: No module named 'no_such_module'"),
        ({"mate": "deap.tools:emo"}, "mate='deap.tools:emo' is not callable"),
        ({"mutate": "deap.tools:mutUniformInt"}, "raised TypeError: .*missing 3 required"),
        ({"mutate": no_tuple}, "no_tuple returned .* should return a tuple of 1 individual, "),
        ({"mutate": shorter}, "shorter returned .*lists of 12 alleles"),
        ({"mate": flip}, "flip raised TypeError"),
        ({"select": copies}, "copies returned .*some of the individuals that it was given"),
        (
            {"mutate": {"function": "deap.tools:mutUniformInt", "low": 0, "up": 9, "indpb": 1.0}},
            r"outside the search space: allele \d of 'layer\d\.\w+' .allowed: places of its values",
        ),
        (
            {"mutate": {"function": tools.mutGaussian, "mu": 0, "sigma": 1, "indpb": 1.0}},
            "outside the search space: allele .* of 'layer0.prune'",
        ),
        (["mate"], r"=\['mate'\] should be a dict"),
    ],
)
def test_what_is_no_operator_ends_the_start(operators: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"toolbox.*{message}"):
        Optimizer(bits_space(), GOALS, toolbox=operators)


def test_a_genome_outside_the_space_is_mended_later_on_and_said_once() -> None:
    optimizer = Optimizer(bits_space(), GOALS, surrogate="none", toolbox={"mutate": alternating()})
    space = optimizer.space
    for params in asked(optimizer, 60):
        assert space.decode(space.encode(params)) == params
    said = [text for text in optimizer.messages.texts if "outside the search space" in text]
    assert len(said) == 1
    assert "allele 99 of 'layer0.prune'" in said[0]
    assert "the parent's allele stays" in said[0]


def test_an_operator_that_breaks_during_the_search_is_named() -> None:
    calls = iter(range(10**6))

    def tires(individual: list[Any]) -> Any:
        return (individual,) if next(calls) < 20 else None

    optimizer = Optimizer(bits_space(), GOALS, surrogate="none", toolbox={"mutate": tires})
    with pytest.raises(ValueError, match="tires returned None; it should return a tuple"):
        asked(optimizer, 200)


@pytest.mark.parametrize(
    ("gene", "raw", "allele"),
    [
        (Ordered("g", (1, 2, 4)), np.int64(2), 2),
        (Ordered("g", (1, 2, 4)), 1.0, 1),
        (Ordered("g", (1, 2, 4)), 1.5, None),
        (Ordered("g", (1, 2, 4)), 3, None),
        (Ordered("g", (1, 2, 4)), -1, None),
        (Categorical("g", ("a", "b")), True, None),
        (Categorical("g", ("a", "b")), "a", None),
        (Integer("g", 5, 9), 4, 4),
        (Integer("g", 5, 9), 5, None),
        (Real("g", 0, 1), np.float64(0.25), 0.25),
        (Real("g", 0, 1), 1.25, None),
        (Real("g", 0, 1), float("nan"), None),
        (Real("g", 0, 1, step=0.1), 0.32, 0.3),
        (Normal("g", 0, 1), -7.5, -7.5),
        (Normal("g", 0, 1, log=True), -7.5, None),
    ],
)
def test_alleles_are_held_to_their_gene(gene: Any, raw: Any, allele: Any) -> None:
    """Tried out it is refused; what is inside comes out as the gene has it."""

    def put(individual: list[Any]) -> tuple[list[Any]]:
        individual[0] = raw
        return (individual,)

    space = SearchSpace([gene, Ordered("other", (1, 2, 3))])
    if allele is None:
        with pytest.raises(ValueError, match="put returned a genome outside the search space"):
            toolbox(space, mutate=put)
        return
    a = space.sample(random.Random(0))
    child = toolbox(space, mutate=put).child(a, a, random.Random(0))
    assert child[0] == allele
    assert type(child[0]) is type(allele)
