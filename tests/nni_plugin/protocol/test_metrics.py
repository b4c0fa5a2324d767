from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import hardware
from nni_plugin.protocol.metrics import COSTS, UnusableMetricsError, read_metrics, reported_uid


def test_a_plain_number_is_the_default_metric() -> None:
    assert read_metrics(0.5, ["default"]) == {"default": 0.5}
    assert read_metrics(np.float32(0.5), ["default"]) == {"default": 0.5}
    assert read_metrics(3, ["default"]) == {"default": 3}


def test_what_is_no_finite_number_is_left_out_unless_it_is_needed() -> None:
    value = {"default": 1, "uid": 4, "note": "x", "loss": math.nan, "sub": {"a": 1}, "ok": True}
    assert read_metrics(value, ["default"]) == {"default": 1}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "0.9", None, True, [1], {"a": 1}])
def test_a_needed_metric_that_cannot_be_ranked_is_refused_by_name_and_value(bad: Any) -> None:
    with pytest.raises(UnusableMetricsError, match="accuracy") as error:
        read_metrics({"accuracy": bad}, ["accuracy"])
    assert not error.value.missing


def test_a_missing_metric_is_named_with_what_was_reported() -> None:
    with pytest.raises(UnusableMetricsError, match=r"'latency'.*default, size") as error:
        read_metrics({"default": 1, "size": 2}, ["default", "latency"])
    assert error.value.missing == {"latency"}


@pytest.mark.parametrize("value", ["0.9", None, [1, 2], True])
def test_neither_number_nor_dict(value: Any) -> None:
    with pytest.raises(UnusableMetricsError, match="neither a number nor a dict"):
        read_metrics(value, ["default"])


def test_uid_is_read_from_a_dict_only() -> None:
    assert reported_uid({"uid": 7}) == 7
    assert reported_uid({"uid": "7"}) is None
    assert reported_uid({"uid": True}) in (None, 1)
    assert reported_uid(0.5) is None


def test_the_names_of_costs_are_those_of_the_cost_model() -> None:
    assert {field.name for field in dataclasses.fields(hardware.Costs)} == set(COSTS)
