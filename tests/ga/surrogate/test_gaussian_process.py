"""Draws of measured effects: two ways for few and for many genes, one distribution."""

from __future__ import annotations

import numpy as np
import pytest

from ga.surrogate import gaussian_process
from ga.surrogate.gaussian_process import EFFECT, GaussianProcess
from ga.surrogate.kernels import matern, matern_and_slope, squares


def test_draws_for_many_genes_are_distributed_as_those_for_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(0)
    effects = generator.random((6, 9))
    rows = np.hstack([generator.normal(size=(6, 2)), effects])
    process = GaussianProcess([0, 0, *[EFFECT] * 9])
    process.fit(rows, effects @ np.linspace(0.2, 2.0, 9) + generator.normal(0, 0.05, 6))
    few = process.slopes(np.random.default_rng(1), 20000)
    monkeypatch.setattr(gaussian_process, "POINTS", 8)
    many = process.slopes(np.random.default_rng(2), 20000)
    assert many[0] == pytest.approx(few[0])
    ours, theirs = np.cov(many[1:].T), np.cov(few[1:].T)
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
    assert np.linalg.eigvalsh(ours)[0] < 0.9 * np.linalg.eigvalsh(ours)[-1], "data tell something"


def test_the_derivative_of_the_matern_part_is_that_of_its_value() -> None:
    distance = squares(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0], [3.0, 0.0]]))
    assert distance == pytest.approx(np.array([[1.0, 10.0]]))
    step = 1e-6
    slope = (matern(distance + step) - matern(distance - step)) / (2 * step)
    assert matern_and_slope(distance)[1] == pytest.approx(slope, rel=1e-5)
