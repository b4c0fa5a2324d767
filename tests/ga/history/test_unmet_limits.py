"""What is said when no result keeps the limits."""

from __future__ import annotations

import random

from ga import Optimizer, parse_constraints
from ga.history.unmet_limits import PATIENCE, unmet_limits
from support.spaces import GOALS, bits_space, size_only, truth


def test_the_limit_and_the_nearest_value_are_named() -> None:
    limits = parse_constraints({"accuracy": ">= 0.95", "size_kb": "<= 9"})
    results = {
        3: {"accuracy": 0.70, "size_kb": 5.0},
        4: {"accuracy": 0.90, "size_kb": 20.0},
        7: {"accuracy": 0.74, "size_kb": 8.9},
        9: {"size_kb": 1.0},
    }
    text = unmet_limits(limits, results)
    assert text is not None
    assert text.startswith(
        "none of 3 results keeps the limits: 'accuracy >= 0.95' is never kept (nearest: "
        "accuracy=0.9, candidate 4; within the other limits accuracy=0.74, candidate 7 with "
        "size_kb=8.9 at its limit 'size_kb <= 9')"
    )


def test_limits_that_contradict_each_other_are_named_together() -> None:
    limits = parse_constraints({"accuracy": ">= 0.95", "size_kb": "<= 2", "ram_kb": "<= 9"})
    results = {
        1: {"accuracy": 0.96, "size_kb": 3.1, "ram_kb": 1},
        2: {"accuracy": 0.97, "size_kb": 4.0, "ram_kb": 1},
        3: {"accuracy": 0.74, "size_kb": 1.9, "ram_kb": 10},
        4: {"accuracy": 0.72, "size_kb": 1.5, "ram_kb": 1},
    }
    text = unmet_limits(limits, results)
    assert text is not None
    assert (
        "'accuracy >= 0.95' and 'size_kb <= 2' are never kept together (nearest: accuracy=0.74 "
        "with size_kb <= 2, candidate 3; size_kb=3.1 with accuracy >= 0.95, candidate 1)" in text
    )
    assert "ram" not in text


def test_three_limits_of_which_each_pair_is_kept() -> None:
    limits = parse_constraints({"a": "<= 1", "b": "<= 1", "c": "<= 1"})
    results = {
        k: dict(zip("abc", row, strict=True))
        for k, row in enumerate([(1, 1, 2), (1, 3, 1), (4, 1, 1)])
    }
    text = unmet_limits(limits, results)
    assert text is not None
    assert "'a <= 1' and 'b <= 1' and 'c <= 1' are never kept together" in text
    assert "b=3 with a <= 1 and c <= 1, candidate 1" in text


def test_there_is_nothing_to_say_of_limits_that_are_kept_or_unknown() -> None:
    limits = parse_constraints({"a": "<= 1"})
    assert unmet_limits(limits, {1: {"a": 2}, 2: {"a": 1}}) is None
    assert unmet_limits(limits, {}) is None
    assert unmet_limits(limits, {1: {"b": 2}}) is None
    assert unmet_limits((), {1: {"a": 2}}) is None


def search(trials: int, budget: int | None, limit: str) -> list[str]:
    optimizer = Optimizer(
        bits_space(), GOALS, {"accuracy": limit}, size_only, surrogate="none", budget=budget
    )
    rng = random.Random(0)
    for _ in range(trials):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, {**truth(candidate.params), "luck": rng.random()})
    return [text for text in optimizer.messages.troubles if "keeps the limits" in text]


def test_a_search_says_it_once_after_a_few_dozen_results() -> None:
    assert search(PATIENCE - 1, None, ">= 0.99") == []
    (said,) = search(PATIENCE + 9, None, ">= 0.99")
    assert said.startswith(f"none of {PATIENCE} results keeps the limits: 'accuracy >= 0.99'")
    assert search(9, 20, ">= 0.99") == [], "half of a small budget"
    assert len(search(10, 20, ">= 0.99")) == 1
    assert search(PATIENCE + 9, None, ">= 0.5") == []
