"""The expected gain of hypervolume."""

from __future__ import annotations

import numpy as np
import pytest

from ga.acquisition.ehvi import BoxDecomposition
from ga.history.pareto import hypervolume


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_gain_of_a_known_candidate_is_the_difference_of_hypervolumes(m: int) -> None:
    rng = np.random.default_rng(m)
    points, reference = rng.random((12, m)), np.ones(m)
    candidates = rng.random((30, m)) * 1.3 - 0.2
    before = hypervolume(points, reference)
    expected = [hypervolume(np.vstack([points, c]), reference) - before for c in candidates]
    gains = BoxDecomposition(points, reference).ehvi(candidates, np.zeros_like(candidates))
    assert gains == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("m", [2, 3])
def test_expected_gain_is_the_mean_over_what_may_come(m: int) -> None:
    rng = np.random.default_rng(0)
    boxes = BoxDecomposition(rng.random((8, m)), np.ones(m))
    mean, deviation = np.full((1, m), 0.4), np.array([[0.2, *[0.0] * (m - 1)]])
    draws = mean + deviation * rng.standard_normal((20000, m))
    sampled = boxes.ehvi(draws, np.zeros_like(draws)).mean()
    assert boxes.ehvi(mean, deviation)[0] == pytest.approx(sampled, rel=0.05)


@pytest.mark.parametrize("m", [2, 3])
def test_expected_gain_of_a_loss_that_cannot_fall_below_a_floor(m: int) -> None:
    rng = np.random.default_rng(1)
    boxes = BoxDecomposition(rng.random((8, m)), np.ones(m))
    mean, deviation = np.full((1, m), 0.4), np.array([[0.25, *[0.0] * (m - 1)]])
    floor = np.array([0.1, *[-np.inf] * (m - 1)])
    draws = np.repeat(mean, 40000, axis=0)
    draws[:, 0] = 0.1 + 0.3 * np.exp(0.25 / 0.3 * rng.standard_normal(len(draws)))
    sampled = boxes.ehvi(draws, np.zeros_like(draws)).mean()
    gain = boxes.ehvi(mean, deviation, floor)[0]
    assert gain == pytest.approx(sampled, rel=0.03)
    assert gain != pytest.approx(boxes.ehvi(mean, deviation)[0], rel=0.05)
    sure = boxes.ehvi(mean, np.zeros((1, m)), floor)
    assert sure == pytest.approx(boxes.ehvi(mean, np.zeros((1, m))), abs=1e-6)


def test_gain_over_an_empty_front_and_of_a_hopeless_candidate() -> None:
    boxes = BoxDecomposition(np.empty((0, 2)), np.ones(2))
    gains = boxes.ehvi(np.array([[0.5, 0.5], [1.5, 0.0]]), np.zeros((2, 2)))
    assert gains.tolist() == [0.25, 0.0]
