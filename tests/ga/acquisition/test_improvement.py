"""The region that is still to be won: closed forms of rectangles."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from ga.acquisition.improvement import ImprovementRegion
from ga.surrogate.surrogate import Forecast

FREE = np.array([np.inf, np.inf])
NO_FLOOR = np.array([-np.inf, -np.inf])
# Losses from 0 to 10 and from 0 to 100 were observed; one point is on the front.
OBSERVED = np.array([[0.0, 100.0], [10.0, 0.0], [5.0, 50.0]])
MIDDLE = np.array([[5.0, 50.0]])


def forecast(
    mean: Any, deviation: Any = 0.0, violation: float = 0.0, known: bool = True
) -> Forecast:
    means = np.array(mean, dtype=float).reshape(-1, 2)
    n = len(means)
    return Forecast(
        means,
        np.broadcast_to(np.asarray(deviation, dtype=float), means.shape),
        np.full(n, violation),
        np.ones(n),
        NO_FLOOR,
        np.full(n, known),
    )


def gains(region: ImprovementRegion, given: Forecast) -> Any:
    return region.gains(*region.scaled(given))


def test_gains_of_sure_candidates_are_areas_on_the_scale_of_what_was_observed() -> None:
    region = ImprovementRegion(MIDDLE, OBSERVED, FREE, None)
    found = gains(region, forecast([[5.0, 50.0], [0.0, 0.0], [0.0, 50.0], [8.0, 80.0]]))
    # The reference lies at 1.1; the front's point dominates (1.1 - .5) squared of the square.
    assert found == pytest.approx([0.0, 1.1**2 - 0.6**2, 0.5 * 0.6, 0.0])


def test_it_ends_at_the_limits_of_the_objectives() -> None:
    region = ImprovementRegion(MIDDLE, OBSERVED, np.array([8.0, np.inf]), None)
    found = gains(region, forecast([[0.0, 0.0], [9.0, 0.0]]))
    assert found == pytest.approx([0.8 * 1.1 - 0.3 * 0.6, 0.0])
    beyond = ImprovementRegion(MIDDLE, OBSERVED, np.array([500.0, np.inf]), None)
    assert gains(beyond, forecast([[0.0, 0.0]])) == pytest.approx([1.1**2 - 0.6**2])


def test_candidates_in_flight_count_as_if_told() -> None:
    told = ImprovementRegion(np.array([[5.0, 50.0], [0.0, 90.0]]), OBSERVED, FREE, None)
    running = ImprovementRegion(MIDDLE, OBSERVED, FREE, forecast([[0.0, 90.0]]))
    asked = forecast([[0.0, 0.0], [0.0, 95.0], [2.0, 60.0]])
    assert gains(running, asked) == pytest.approx(gains(told, asked))
    assert gains(running, asked)[1] == 0.0


@pytest.mark.parametrize("unusable", [{"violation": 0.1}, {"known": False}])
def test_candidates_in_flight_that_win_nothing_do_not_count(unusable: dict[str, Any]) -> None:
    alone = ImprovementRegion(MIDDLE, OBSERVED, FREE, None)
    running = ImprovementRegion(MIDDLE, OBSERVED, FREE, forecast([[0.0, 0.0]], **unusable))
    assert gains(running, forecast([[0.0, 0.0]])) == pytest.approx(
        gains(alone, forecast([[0.0, 0.0]]))
    )


def test_an_uncertain_loss_gains_by_the_third_of_its_deviation_that_is_believed() -> None:
    region = ImprovementRegion(np.empty((0, 2)), OBSERVED, FREE, None)
    found = gains(region, forecast([[11.0, 0.0]], [[3.0, 0.0]]))
    # In the first objective the mean is the reference itself: E[max(0, N(0, s))] = s / sqrt(2 pi).
    assert found == pytest.approx([0.3 / 3 / math.sqrt(2 * math.pi) * 1.1])
    normal = NormalDist(0.7, 0.1)
    expected = 0.4 * normal.cdf(1.1) + 0.1**2 * normal.pdf(1.1)
    assert gains(region, forecast([[7.0, 0.0]], [[3.0, 0.0]])) == pytest.approx([expected * 1.1])


def test_an_objective_that_is_constant_is_no_trouble() -> None:
    observed = np.array([[1.0, 7.0], [3.0, 7.0]])
    region = ImprovementRegion(observed[:1], observed, FREE, None)
    found = gains(region, forecast([[1.0, 7.0], [0.0, 7.0]]))
    assert found == pytest.approx([0.0, 0.5 * 1.1])
