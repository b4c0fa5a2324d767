"""`final` of the class arguments: what is refused, and with which words."""

from __future__ import annotations

import pytest

from nni_plugin.study.final_args import FinalArgs, planned_trials

METRICS = ["accuracy", "size_kb"]


def test_what_is_left_out_has_a_default() -> None:
    assert FinalArgs.parse(None, METRICS) is None
    assert FinalArgs.parse({"epochs": 40}, METRICS) == FinalArgs(40, 5, 3, 3, (), None)
    given = {"epochs": 40, "pick": "accuracy >= 0.9, min size_kb", "metric": "accuracy"}
    parsed = FinalArgs.parse(given, METRICS)
    assert parsed is not None
    assert (len(parsed.pick), parsed.metric) == (1, "accuracy")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (40, "should be a mapping"),
        ({}, "epochs is missing"),
        ({"epochs": 0}, "epochs=0 should be a whole number from 1 on"),
        ({"epochs": 2.5}, "epochs=2.5 should be a whole number"),
        ({"epochs": True}, "epochs=True should be a whole number"),
        ({"epochs": 4, "trials": 3}, "trials=3 is too few.*at least 4"),
        ({"epochs": 4, "count": -1}, "count=-1"),
        ({"epochs": 4, "seeds": 0}, "seeds=0 should be a whole number from 1 on"),
        ({"epochs": 4, "seed": 2}, "no setting 'seed'.*did you mean 'seeds'"),
        ({"epochs": 4, "pick": 3}, "pick=3 should be 'hypervolume'"),
        ({"epochs": 4, "pick": "the best"}, "pick: .*'the best'"),
        ({"epochs": 4, "metric": "size_kb"}, "metric='size_kb' is no objective.*accuracy"),
    ],
)
def test_bad_settings(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FinalArgs.parse(given, METRICS)


def test_costs_alone_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="all objectives and constraints are costs"):
        FinalArgs.parse({"epochs": 4}, ["size_kb", "latency_ms"])


def test_a_budget_that_leaves_no_search() -> None:
    final = FinalArgs.parse({"epochs": 40}, METRICS)
    assert planned_trials(final, {"maxTrialNumber": 15}) == 15
    assert planned_trials(final, {}) is None
    with pytest.raises(ValueError, match="take 14 of maxTrialNumber=14"):
        planned_trials(final, {"maxTrialNumber": 14})
