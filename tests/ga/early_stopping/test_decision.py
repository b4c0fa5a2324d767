"""The decision to stop a trial, to a log and back."""

from __future__ import annotations

import json

import pytest

from ga.early_stopping.decision import StopDecision


@pytest.mark.parametrize("expected", [None, {"accuracy": 0.8, "size_kb": 3.0}])
def test_a_decision_comes_back_from_a_log(expected: dict[str, float] | None) -> None:
    decision = StopDecision({"accuracy": 0.3, "size_kb": 3.0}, 2, "hopeless", expected)
    line = json.dumps({"event": "censor", "uid": 4, **decision.as_event(), "time": 1.0})
    assert list(json.loads(line)) == [
        "event",
        "uid",
        "metrics",
        "rung",
        "reason",
        "expected",
        "time",
    ]
    assert StopDecision.from_event(json.loads(line)) == decision


def test_what_a_log_lacks_is_left_empty() -> None:
    assert StopDecision.from_event({"metrics": {"a": 1.0}}) == StopDecision({"a": 1.0}, 0, "")


def test_a_kept_decision_changes_with_nothing() -> None:
    decision = StopDecision({"a": 1.0}, 1, "slow", {"a": 2.0})
    event = decision.as_event()
    event["metrics"]["a"] = 9.0
    assert decision.metrics == {"a": 1.0}
