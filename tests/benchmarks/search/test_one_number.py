"""Tables of ordinary searches: what a trial reads, regret, and the statistics of the report."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from support.search_scripts import search_script

GRID = {
    "rate": ("loguniform", [1e-4, 1.0], [1e-4, 1e-2, 1.0]),
    "width": ("qloguniform", [4, 64, 1], [4, 16, 64]),
    "depth": ("randint", [1, 4], [1, 2, 3]),
    "act": ("choice", ["relu", "tanh"], ["relu", "tanh"]),
}
OTHER = {"gamma": ("uniform", [0.0, 1.0], [0.0, 0.5, 1.0])}
SPACE = {
    "model": {
        "_type": "choice",
        "_value": [
            {"_name": "net", **{k: {"_type": t, "_value": v} for k, (t, v, _) in GRID.items()}},
            {"_name": "svm", **{k: {"_type": t, "_value": v} for k, (t, v, _) in OTHER.items()}},
        ],
    }
}


@pytest.fixture(scope="module")
def problem() -> Any:
    """A bowl whose best is the second rate, the largest width, depth 2 and tanh."""
    errors = {
        ("net", *places): abs(places[0] - 1) + (2 - places[1]) + abs(places[2] - 1) + 1 - places[3]
        for places in itertools.product(range(3), range(3), range(3), range(2))
    }
    errors |= {("svm", place): 4.0 + place for place in range(3)}
    module = search_script("one_number_problems")
    return module._problem("bowl", SPACE, {"net": GRID, "svm": OTHER}, errors)


def test_a_trial_reads_the_nearest_setting_on_the_scale_of_its_range(problem: Any) -> None:
    net = {"_name": "net", "rate": 2e-3, "width": 33.0, "depth": 2, "act": "tanh"}
    assert problem.error({"model": net}) == 0.0
    # 5e-4 is nearer to 1e-4 than to 1e-2 on a log scale only.
    assert problem.error({"model": {**net, "rate": 5e-4}}) == 1.0
    assert problem.error({"model": {**net, "width": 31.0}}) == 1.0
    assert problem.error({"model": {"_name": "svm", "gamma": 0.3}}) == 5.0


def test_regret_is_that_of_the_best_so_far_between_best_and_median(problem: Any) -> None:
    assert problem.regret([problem.median, problem.best, problem.median]) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("sampler", ["ours", "nni tpe", "nni evolution", "nni random"])
def test_samplers_take_nested_spaces_and_repeat_themselves(problem: Any, sampler: str) -> None:
    run = search_script("one_number").SAMPLERS[sampler]
    errors, asked = run(problem, 3, 12)
    assert len(errors) == len(asked) == 12
    # NNI's evolution draws its first population from the system's randomness.
    assert sampler == "nni evolution" or errors == run(problem, 3, 12)[0]
    assert set(errors) <= set(problem.errors.values())


def test_p_values_are_corrected_in_order_and_never_fall() -> None:
    holm = search_script("one_number").holm
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_the_report_ranks_only_runs_that_all_samplers_have() -> None:
    pandas = pytest.importorskip("pandas")
    rows = [
        {"problem": p, "sampler": s, "seed": 0, "ask_ms": 1.0, "regret30": r, "regret100": np.nan}
        for p in "abcde"
        for s, r in (("ours", 0.1), ("random", 0.2))
    ]
    rows.append({**rows[0], "seed": 1, "regret30": 99.0})
    runs = pandas.DataFrame(rows).assign(regret200=np.nan)
    told = search_script("one_number").report(runs, ["ours", "random"])
    assert "5 tables, 5 paired runs" in told
    assert "| ours | 1.00 (1.00 to 1.00) | 0.100" in told
    assert "0.031" in told  # 2 ** -5
