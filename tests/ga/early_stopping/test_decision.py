"""The decision to stop a trial, and how a log keeps it."""

from __future__ import annotations

import json

import pytest

from ga.early_stopping.decision import StopDecision


@pytest.mark.parametrize("expected", [None, {"accuracy": 0.8, "size_kb": 3.0}])
def test_a_log_keeps_the_whole_decision(expected: dict[str, float] | None) -> None:
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
    names = ("metrics", "rung", "reason", "expected")
    assert StopDecision(**{name: json.loads(line)[name] for name in names}) == decision


def test_a_kept_decision_changes_with_nothing() -> None:
    decision = StopDecision({"a": 1.0}, 1, "slow", {"a": 2.0})
    event = decision.as_event()
    metrics = event["metrics"]
    assert isinstance(metrics, dict)
    metrics["a"] = 9.0
    assert decision.metrics == {"a": 1.0}
