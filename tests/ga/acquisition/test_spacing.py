"""Where genes have no steps, a request keeps a distance from what was tried."""

from __future__ import annotations

import numpy as np
import pytest

from ga import Optimizer
from ga.acquisition.spacing import spaced
from ga.problem.genes import Categorical, Ordered, Real
from ga.problem.search_space import SearchSpace

SPACE = SearchSpace([Real("rate", 1e-4, 1.0, log=True), Categorical("kind", ("a", "b"))])


def far(space, asked, params):
    asked = [space.encode(point) for point in asked]
    return spaced(space, asked, lambda genome: True)(space.encode(params))


def test_a_hair_beside_a_trial_is_not_far():
    tried = [{"rate": 0.01, "kind": "a"}]
    assert not far(SPACE, tried, {"rate": 0.0101, "kind": "a"})
    assert far(SPACE, tried, {"rate": 0.1, "kind": "a"})
    assert far(SPACE, tried, {"rate": 0.0101, "kind": "b"})


def test_the_distance_shrinks_with_the_trials():
    tried = [{"rate": 0.01, "kind": "b"}] * 500 + [{"rate": 0.01, "kind": "a"}]
    assert far(SPACE, tried, {"rate": 0.0101, "kind": "a"})


def test_listed_values_are_new_or_not():
    listed = SearchSpace([Ordered("bits", (2, 4, 8)), Ordered("prune", (0.0, 0.5))])
    tried = [{"bits": 8, "prune": 0.0}]
    assert far(listed, tried, {"bits": 4, "prune": 0.0})
    is_new = lambda genome: False  # noqa: E731  # it shall be the very same function
    assert spaced(listed, [listed.encode(tried[0])], is_new) is is_new


@pytest.mark.parametrize("seed", [0, 1])
def test_a_staircase_is_not_searched_on_one_step(seed):
    """Values that are rounded: before, most of the requests fell on one step."""
    names = ("a", "b", "c", "d")
    search = Optimizer(
        SearchSpace([Real(n, 0.0, 1.0) for n in names]), {"loss": "minimize"}, seed=seed
    )
    steps = []
    for _ in range(60):
        candidate = search.ask()
        step = tuple(round(candidate.params[n] * 6) for n in names)
        steps.append(step)
        loss = sum((s - goal) ** 2 for s, goal in zip(step, (1, 4, 2, 5), strict=True))
        search.tell(candidate.id, {"loss": float(np.sqrt(loss))})
    assert max(map(steps.count, steps)) <= 20
