"""Posterior means and intervals of what was found: luck makes no front."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from ga import Evaluation, Integer, Optimizer, SearchSpace
from ga.surrogate.gaussian_process import GaussianProcess
from ga.surrogate.training_data import Repeats
from support.spaces import GOALS, bits_space, size_only, truth

NOISE = 0.03


def searched(trials: int, noise: float = NOISE, **options: Any) -> tuple[Optimizer, random.Random]:
    """A search on noisy results, of random networks so that it takes no time."""
    space, rng = bits_space(5), random.Random(3)
    options = {"costs": size_only, "surrogate": "none", **options}
    optimizer = Optimizer(space, GOALS, **options)
    for _ in range(trials):
        params = space.decode(space.sample(rng))
        optimizer.inject(params, noisy(params, rng, noise))
    return optimizer, rng


def noisy(params: dict[str, Any], rng: random.Random, noise: float = NOISE) -> dict[str, float]:
    return {**truth(params), "accuracy": truth(params)["accuracy"] + rng.gauss(0, noise)}


def errors(optimizer: Optimizer) -> tuple[float, float, float]:
    """Of the front: mean error of readings and of beliefs, and the share within intervals."""
    believed = optimizer.beliefs()
    true = np.array([truth(b.evaluation.params)["accuracy"] for b in believed])
    read = np.array([(b.evaluation.metrics or {})["accuracy"] for b in believed])
    mean = np.array([b.mean["accuracy"] for b in believed])
    ends = np.array([(b.low["accuracy"], b.high["accuracy"]) for b in believed])
    within = (ends[:, 0] <= true) & (true <= ends[:, 1])
    return float(np.mean(read - true)), float(np.mean(mean - true)), float(within.mean())


def test_the_front_is_lucky_and_beliefs_know_it() -> None:
    optimizer, _ = searched(80)
    lucky, believed, within = errors(optimizer)
    assert lucky > NOISE / 3
    assert abs(believed) < lucky / 2
    assert within > 0.6
    for belief in optimizer.beliefs():
        assert set(belief.mean) == {"accuracy"}, "size is known"
        assert belief.low["accuracy"] < belief.mean["accuracy"] < belief.high["accuracy"]
        assert belief.metrics["size_kb"] == (belief.evaluation.metrics or {})["size_kb"]


def test_the_believed_front_is_truer_than_that_of_readings() -> None:
    optimizer, _ = searched(80)

    def regret(params: list[dict[str, Any]]) -> float:
        """Mean gap of a front's true accuracies to the best of its size or smaller."""
        everything = [truth(e.params) for e in optimizer.evaluations]
        gaps = [
            max(t["accuracy"] for t in everything if t["size_kb"] <= truth(p)["size_kb"])
            - truth(p)["accuracy"]
            for p in params
        ]
        return float(np.mean(gaps))

    believed = optimizer.believed_front()
    assert regret([b.evaluation.params for b in believed]) < regret(
        [e.params for e in optimizer.front()]
    )
    means = [b.metrics["accuracy"] for b in believed]
    assert means == sorted(means, reverse=True)


def test_each_further_measurement_narrows_the_interval() -> None:
    optimizer, rng = searched(40)
    best = optimizer.front()[0]
    width = []
    for _ in range(3):
        (belief,) = optimizer.beliefs([optimizer.results.archive.scored[best.id]])
        width.append(belief.high["accuracy"] - belief.low["accuracy"])
        for _ in range(8):
            optimizer.remeasure(best.id, noisy(best.params, rng))
    assert width[0] > width[1] > width[2] > 0
    assert belief.mean["accuracy"] == pytest.approx(truth(best.params)["accuracy"], abs=NOISE)


def test_nothing_is_believed_of_few_results_of_exact_ones_and_of_misfits() -> None:
    few, _ = searched(9)
    assert all(b.mean == {} and b.metrics == b.evaluation.metrics for b in few.beliefs())
    constant = Optimizer(SearchSpace([Integer("i", 0, 99)]), {"m": "minimize"}, surrogate="none")
    for i in range(20):
        constant.inject({"i": i}, {"m": 1.0 + i})
    assert constant.beliefs()[0].mean == {}, "a line has no noise"
    log = [Evaluation(3, {"gone": 1}, {"accuracy": 2.0, "size_kb": 1.0})]
    misfit = Optimizer.replay(bits_space(), GOALS, log, surrogate="none")
    assert [b.metrics for b in misfit.beliefs()] == [{"accuracy": 2.0, "size_kb": 1.0}]
    assert [b.evaluation.id for b in misfit.believed_front()] == [3]
    assert Optimizer(bits_space(), GOALS).believed_front() == []


def test_means_of_repeated_measurements_teach_what_all_rows_would() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(12, 2))
    drawn = points @ [1.0, -0.5] + generator.normal(0, 0.4, size=(4, 12))
    together, apart = GaussianProcess([0, 1]), GaussianProcess([0, 1])
    means = drawn.mean(axis=0)
    repeats = Repeats(np.full(12, 4.0), ((drawn - means) ** 2).sum(axis=0))
    together.fit(points, means, None, repeats)
    # The values' own spread is the unit of both; hyperparameters are found on either.
    apart.fit(np.tile(points, (4, 1)), drawn.ravel())
    asked = generator.normal(size=(5, 2))
    for ours, theirs in zip(together.predict(asked), apart.predict(asked), strict=True):
        assert ours == pytest.approx(theirs, rel=0.1, abs=0.03)
    assert together.noise * float(means.std()) == pytest.approx(
        apart.noise * float(drawn.std()), rel=0.1
    )
