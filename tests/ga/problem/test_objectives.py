from __future__ import annotations

import math

import numpy as np
import pytest

from ga.problem.objectives import Constraint, Objectives, parse_constraints, violation


def test_losses_turn_maximized_metrics_around() -> None:
    goals = Objectives.parse({"accuracy": "maximize", "size_kb": "minimize"})
    assert goals.losses({"accuracy": np.float32(0.5), "size_kb": 3, "x": None}) == (-0.5, 3.0)
    assert goals.as_dict() == {"accuracy": "maximize", "size_kb": "minimize"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "accuracy=nan is not finite"),
        (-math.inf, "accuracy=-inf is not finite"),
        ("0.9", "accuracy='0.9' is not a number but a str"),
        (None, "accuracy=None is not a number"),
        (True, "accuracy=True is not a number"),
        ([0.9], "not a number but a list"),
    ],
)
def test_a_bad_metric_is_named(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objectives.parse({"accuracy": "maximize"}).losses({"accuracy": value})


def test_a_missing_metric_is_named_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'accuracy' is missing from the result .*default, size"):
        Objectives.parse({"accuracy": "maximize"}).losses({"default": 1, "size": 2})


@pytest.mark.parametrize(
    "objectives",
    [{}, None, ["accuracy"], {"a": "max"}, {"a": 1}, {"": "minimize"}, {3: "minimize"}],
)
def test_bad_objectives_are_refused(objectives: object) -> None:
    with pytest.raises(ValueError, match="objective"):
        Objectives.parse(objectives)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value", "excess"),
    [
        ("<= 256", 256, 0),
        ("<=256", 512, 1.0),
        (">= .8", 0.4, 0.5),
        (">= 0.8", 0.9, 0),
        ("> 0", -2, 2),
        ("< 1e3", 500, 0),
        ("<= 0", 0.5, 0.5),
    ],
)
def test_constraints_measure_the_excess(text: str, value: float, excess: float) -> None:
    assert Constraint.parse("m", text).excess(value) == pytest.approx(excess)


def test_a_strict_bound_is_violated_when_met() -> None:
    assert Constraint.parse("m", "< 3").excess(3) > 0
    assert Constraint.parse("m", "<= 3").excess(3) == 0


@pytest.mark.parametrize(
    "text", ["256", "== 3", "<= big", "=< 3", "", None, 256, "<= 1 kb", "<=1e999"]
)
def test_unreadable_constraints_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"constraint 'ram_kb': .*"):
        parse_constraints({"ram_kb": text})


def test_contradicting_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing can satisfy both 'a >= 4' and 'a <= 3'"):
        parse_constraints({"a": ["<= 3", ">= 4"]})
    assert len(parse_constraints({"a": ["<= 4", ">= 4"]})) == 2


def test_violations_add_up() -> None:
    bounds = parse_constraints({"a": "<= 10", "b": ">= 1"})
    assert violation(bounds, {"a": 15, "b": 0.5}) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="'b' is missing"):
        violation(bounds, {"a": 1})


def test_constraints_must_be_a_dict() -> None:
    with pytest.raises(ValueError, match="should be a dict"):
        parse_constraints("ram_kb <= 3")  # type: ignore[arg-type]
    assert parse_constraints(()) == ()


def test_limits_of_objectives_are_losses() -> None:
    objectives = Objectives.parse({"accuracy": "maximize", "ms": "minimize", "kb": "minimize"})
    bounds = parse_constraints(
        {"accuracy": [">= 0.8", ">= 0.9"], "ms": ">= 2", "ram_kb": "<= 64", "kb": "<= 10"}
    )
    assert objectives.limits(bounds) == (-0.9, float("inf"), 10.0)
