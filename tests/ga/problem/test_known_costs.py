"""Costs that are known before a trial."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ga import Optimizer
from support.spaces import GOALS, bits_space, size_only, truth


def plain(*args: Any, **options: Any) -> Optimizer:
    """The genetic algorithm alone: quick, for what does not concern the surrogate."""
    return Optimizer(*args, surrogate="none", **options)


def run(optimizer: Optimizer, trials: int) -> None:
    for _ in range(trials):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, truth(candidate.params))


@pytest.mark.parametrize(
    "costs",
    [
        lambda p: {"size_kb": math.nan},
        lambda p: {"size_kb": "big"},
        lambda p: None,
        lambda p: 1 / 0,
    ],
)
def test_a_cost_function_that_misbehaves_is_said_and_lived_with(costs: object) -> None:
    optimizer = plain(bits_space(), GOALS, {"size_kb": "<= 60"}, costs)  # type: ignore[arg-type]
    run(optimizer, 30)
    assert len(optimizer.evaluations) == 30
    assert any("cost function" in note for note in optimizer.messages.texts)


def test_a_cost_that_differs_from_the_trial_is_said() -> None:
    optimizer = plain(bits_space(), GOALS, costs=lambda p: {"size_kb": 1.0})
    run(optimizer, 3)
    assert sum("should be equal" in note for note in optimizer.messages.texts) == 1


def test_known_costs_fill_in_what_a_trial_leaves_out() -> None:
    optimizer = plain(bits_space(), GOALS, costs=size_only)
    candidate = optimizer.ask()
    optimizer.tell(candidate.id, {"accuracy": 0.5})
    assert optimizer.evaluations[0].metrics == {"accuracy": 0.5, **size_only(candidate.params)}
