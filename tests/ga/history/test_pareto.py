"""Fronts and their hypervolume."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ga import (
    Integer,
    Optimizer,
    SearchSpace,
)
from ga.history.pareto import dominates, hypervolume, nondominated


def test_nondominated_keeps_equal_points() -> None:
    points = [[1, 2], [1, 2], [2, 1], [2, 2], [3, 0]]
    assert nondominated(points).tolist() == [True, True, True, False, True]
    assert hypervolume([], [1, 1]) == 0
    with pytest.raises(ValueError, match="2 values for 3"):
        hypervolume([[1, 2, 3]], [1, 1])
    with pytest.raises(ValueError, match="n x m"):
        nondominated([1, 2])


def test_hypervolume_of_an_anti_diagonal() -> None:
    n = 50
    points = [[i / n, (n - 1 - i) / n] for i in range(n)]
    assert hypervolume(points, [1, 1]) == pytest.approx((1 + 1 / n) / 2)


def plain(*args: Any, **options: Any) -> Optimizer:
    """The genetic algorithm alone: quick, for what does not concern the surrogate."""
    return Optimizer(*args, surrogate="none", **options)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), max_size=40))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    space = SearchSpace([Integer("i", 0, 50)])
    optimizer = plain(space, {"a": "minimize", "b": "maximize"}, {"c": "<= 5"})
    for i, (a, b, c) in enumerate(points):
        optimizer.inject({"i": i}, {"a": a, "b": b, "c": c})
    good = {i: (a, -b) for i, (a, b, c) in enumerate(points) if c <= 5}
    expected = {i for i, loss in good.items() if not any(dominates(o, loss) for o in good.values())}
    assert {e.params["i"] for e in optimizer.front()} == expected


def test_hypervolume_of_known_points() -> None:
    optimizer = plain(SearchSpace([Integer("i", 0, 9)]), {"a": "maximize", "b": "minimize"})
    assert optimizer.hypervolume({"a": 0, "b": 4}) == 0
    optimizer.inject({"i": 0}, {"a": 1, "b": 1})
    optimizer.inject({"i": 1}, {"a": 2, "b": 2})
    optimizer.inject({"i": 2}, {"a": 1, "b": 3})
    assert optimizer.hypervolume({"a": 0, "b": 4}) == pytest.approx(5)
    with pytest.raises(ValueError, match="one value for each objective: a, b"):
        optimizer.hypervolume({"a": 0})
