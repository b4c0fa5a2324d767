"""Measured losses of single settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ga import Optimizer
from ga.problem.sensitivities import Sensitivities
from support.spaces import GOALS, bits_space


def test_losses_of_pruning_go_on_beyond_what_was_measured() -> None:
    known = Sensitivities.parse(
        {
            "a.prune": {0.5: 0.1, 0.75: 0.3},
            "gains.prune": {0.5: 0.1, 0.75: 0.0},
            "never.prune": {0.0: 0.0},
            "twice.prune": {"0.5": 0.1, "0.50": 0.2},
            "percent.prune": {50: 0.1, 75: 0.3},
            "a.w_bits": {2: 0.3, 4: 0.1},
        }
    )
    # 1, 3 and 7 channels removed for each that is left.
    assert known.losses("a.prune", np.array([0.75, 0.875])) == pytest.approx([0.3, 0.7])
    assert known.losses("gains.prune", np.array([0.875])) == pytest.approx([0.0])
    assert known.losses("twice.prune", np.array([0.75])) == pytest.approx([0.2])
    assert known.losses("never.prune", np.array([0.5])) == pytest.approx([0.0])
    assert known.losses("percent.prune", np.array([62.5, 90])) == pytest.approx([0.2, 0.3])
    assert known.losses("a.w_bits", np.array([1, 8])) == pytest.approx([0.3, 0.1])


def test_sensitivities_by_gene_give_those_of_the_layers() -> None:
    found = Sensitivities.parse({"a.prune": {0.5: 0.2, 0.75: 0.4}, "a.w_bits": {2: -0.1}, "b": 0.3})
    assert found.layers == pytest.approx({"a": 0.2, "b": 0.3})


@pytest.mark.parametrize("bad", [{"a": "much"}, {"a": math.nan}, {"a.w_bits": {"low": 0.1}}])
def test_sensitivities_that_are_no_numbers_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' has .* where a finite number"):
        Optimizer(bits_space(), GOALS, sensitivities=bad)
