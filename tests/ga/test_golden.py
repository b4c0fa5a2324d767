"""Golden runs: the same seed asks for the same candidates as at commit 92e111d.

The digests were made there. A change that is meant to change the search makes new ones, and says
in its commit what it did to the tables of docs/search.md. Those of the mixed space, which has a
nested choice, are newer: silent genes hold nothing since, so that a replay is exact.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ga import Candidate, Optimizer, SearchSpace
from support.spaces import GOALS, bits_space, mixed_space, size_only, truth

MIXED_GOALS = {"a": "minimize", "b": "maximize", "c": "minimize"}
MEASURED = {
    f"layer{i}.{kind}": values
    for i in range(4)
    for kind, values in (
        ("prune", {0.25: 0.02, 0.5: 0.1 + i / 100, 0.75: 0.4}),
        ("w_bits", {2: 0.3 - i / 50, 4: 0.01}),
    )
}


def _number(value: Any) -> float:
    if isinstance(value, Mapping):
        return sum(map(_number, value.values()))
    return sum(map(ord, value)) % 17 / 17 if isinstance(value, str) else float(value)


def mixed_truth(params: Mapping[str, Any]) -> dict[str, float]:
    """A made-up trial on `mixed_space`, with three objectives."""
    prune, bits, units, rate, momentum, noise, choice = map(_number, params.values())
    return {
        "a": math.sin(units) + prune + 1 / (1 + abs(noise)),
        "b": bits + 10 * momentum + abs(math.log10(rate)),
        "c": choice - units / 10,
    }


def search(
    space: SearchSpace,
    goals: Mapping[str, str],
    trial: Callable[[dict[str, Any]], dict[str, float]],
    requests: int,
    **options: Any,
) -> str:
    """A digest of what is asked for, with two slots, failures and trials that are stopped."""
    optimizer = Optimizer(space, goals, **options)
    running: list[Candidate] = []
    for k in range(requests):
        running.append(optimizer.ask())
        if len(running) < 2:
            continue
        done = running.pop(k % 2)
        result = trial(done.params)
        if k % 11 == 5:
            optimizer.fail(done.id, "crashed")
        elif k % 13 == 6:
            optimizer.censor(done.id, result, "stopped", {name: result[name] for name in goals})
        else:
            optimizer.tell(done.id, result)
    told = {e.id: e.params for e in [*optimizer.evaluations, *optimizer.pending]}
    text = json.dumps([told[number] for number in sorted(told)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("survival", "population_size", "digest"),
    [
        ("nsga2", 10, "7ad80fde9a72752b"),
        ("nsga2", None, "6393c460153a4fbb"),
        ("nsga3", 10, "2ee430326122acbb"),
        ("hypervolume", 10, "a8e97f3fd304dcfd"),
    ],
)
def test_the_plain_search(survival: str, population_size: int | None, digest: str) -> None:
    asked = search(
        mixed_space(), MIXED_GOALS, mixed_truth, 90, survival=survival, surrogate="none", seed=5,
        population_size=population_size,
    )  # fmt: skip
    assert asked == digest


def test_the_plain_search_with_a_population_of_a_hundred() -> None:
    asked = search(bits_space(6), GOALS, truth, 260, population_size=100, surrogate="none")
    assert asked == "9e415b5836d602f6"


def test_the_plain_search_within_limits() -> None:
    limits = {"size_kb": "<= 50", "accuracy": ">= 0.5"}
    asked = search(
        bits_space(12), GOALS, truth, 80, constraints=limits, costs=size_only, surrogate="none"
    )
    assert asked == "fd9aa869fbc5d05a"


# Few requests with a surrogate: other versions of BLAS round otherwise, which may decide between
# two candidates that are worth the same.
@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({"surrogate": "gp", "costs": size_only}, "b2bd02195930ac62"),
        ({"surrogate": "trees", "costs": size_only, "survival": "hypervolume"}, "9c4d409626233c76"),
        (
            {"costs": size_only, "sensitivities": MEASURED, "constraints": {"size_kb": "<= 40"}},
            "d225cfbc9106582c",
        ),
    ],
)
def test_the_search_with_a_surrogate(options: dict[str, Any], digest: str) -> None:
    assert search(bits_space(), GOALS, truth, 24, seed=2, **options) == digest
