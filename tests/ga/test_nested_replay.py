"""A search of nested choices goes on after a replay as it would have gone on without."""

from __future__ import annotations

import random

import pytest

from ga import Optimizer
from ga.problem.genes import Categorical, Integer, Real
from ga.problem.search_space import SearchSpace

GOALS = {"loss": "minimize", "ms": "minimize"}


def nested_space() -> SearchSpace:
    forest = (Integer("trees", 5, 120), Integer("depth", 2, 16))
    svm = (Real("c", 0.01, 100.0, log=True), Real("gamma", 1e-4, 0.1, log=True))
    model = Categorical("model", ("forest", "svm", "none"), children=(forest, svm, ()))
    return SearchSpace([model, Categorical("scale", ("none", "standard"))])


def measured(params):
    model = params["model"]
    name = model["_name"]
    if name == "forest":
        return {"loss": 1 / model["trees"] + 0.01 * model["depth"], "ms": float(model["trees"])}
    if name == "svm":
        return {"loss": abs(model["c"] - 3) / 100 + model["gamma"], "ms": 10 + model["c"]}
    return {"loss": 0.9, "ms": 1.0}


def going_on(search, trials):
    for _ in range(trials):
        candidate = search.ask()
        search.tell(candidate.id, measured(candidate.params))
    return search


@pytest.mark.parametrize("surrogate", ["none", "gp"])
@pytest.mark.parametrize("cut", [8, 14, 25])
def test_a_replayed_search_of_nested_choices_goes_on_like_the_first(surrogate, cut):
    options = {"seed": 3, "population_size": 8, "surrogate": surrogate}
    whole = going_on(Optimizer(nested_space(), GOALS, **options), 32)
    first = going_on(Optimizer(nested_space(), GOALS, **options), cut)
    second = Optimizer.replay(nested_space(), GOALS, first.evaluations, **options)
    going_on(second, 32 - cut)
    assert [e.params for e in second.evaluations] == [e.params for e in whole.evaluations]


def test_what_wakes_up_is_of_a_parent_or_drawn():
    space = nested_space()
    forest = space.encode({"model": {"_name": "forest", "trees": 80, "depth": 9}, "scale": "none"})
    svm = space.encode({"model": {"_name": "svm", "c": 5.0, "gamma": 0.01}, "scale": "none"})
    none = space.encode({"model": {"_name": "none"}, "scale": "none"})
    rng = random.Random(0)
    child = (svm[0], *forest[1:])
    assert space.decode(space.awakened(child, (forest, svm), rng))["model"]["c"] == 5.0
    drawn = {
        space.decode(space.awakened((svm[0], *none[1:]), (none, forest), rng))["model"]["c"]
        for _ in range(20)
    }
    assert len(drawn) == 20


def test_silent_loci_hold_nothing():
    space = nested_space()
    rng = random.Random(1)
    for _ in range(50):
        genome = space.sample(rng)
        assert space.settled(genome) == space.encode(space.decode(genome))
        assert space.decode(space.settled(genome)) == space.decode(genome)
