"""What is already won, as forecasts see it: from few results all of them, of many the latest."""

from __future__ import annotations

import random

import pytest

from ga import Optimizer
from ga.early_stopping import outlooks
from support.spaces import GOALS, bits_space, size_only, truth


def test_of_many_results_the_front_and_the_latest_contend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlooks, "_MOST_CONTENDERS", 5)
    space, rng = bits_space(), random.Random(0)
    optimizer = Optimizer(space, GOALS, costs=size_only, surrogate="none")
    for _ in range(5):
        params = space.decode(space.sample(rng))
        optimizer.inject(params, truth(params))
    look = optimizer._outlooks
    assert list(look._contenders()) == [1, 2, 3, 4, 5]
    for _ in range(25):
        params = space.decode(space.sample(rng))
        optimizer.inject(params, truth(params))
    front = [e.id for e in optimizer.front()]
    assert len(front) > 1
    assert set(look._contenders()) == {*front, 26, 27, 28, 29, 30}
    assert len(look._contenders()) == len(set(look._contenders()))
