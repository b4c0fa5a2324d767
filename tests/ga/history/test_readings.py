"""Several measurements of one network count as their mean: luck makes no front."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ga import Evaluation, Integer, Measurement, Optimizer, SearchSpace
from ga.history.readings import pooled
from support.spaces import GOALS, bits_space, size_only, truth


def noisy(params: dict[str, float], rng: random.Random) -> dict[str, float]:
    return {**truth(params), "accuracy": truth(params)["accuracy"] + rng.gauss(0, 0.02)}


def test_numbers_are_averaged_and_texts_are_the_latest() -> None:
    readings = [
        {"accuracy": 0.25, "size_kb": 0.1, "note": "a"},
        {"accuracy": 0.75, "size_kb": 0.1, "note": "b", "extra": 3},
    ]
    assert pooled(readings) == {"accuracy": 0.5, "size_kb": 0.1, "note": "b", "extra": 3}


def test_a_lucky_result_leaves_the_front_when_it_is_measured_again() -> None:
    optimizer = Optimizer(SearchSpace([Integer("i", 0, 9)]), {"m": "minimize"}, surrogate="none")
    lucky, steady, archive = optimizer.ask(), optimizer.ask(), optimizer.results.archive
    optimizer.tell(lucky.id, {"m": 1.0, "run": "a"})
    assert archive.extremes.tolist() == [[1.0], [1.0]]
    optimizer.tell(steady.id, {"m": 2.0})
    assert archive.extremes.tolist() == [[1.0], [2.0]]
    assert [e.id for e in optimizer.front()] == [lucky.id]
    now = optimizer.remeasure(lucky.id, {"m": 4.0, "run": "b"})
    assert (now.metrics, now.measurements) == ({"m": 2.5, "run": "b"}, 2)
    assert now.readings == ({"m": 1.0, "run": "a"}, {"m": 4.0, "run": "b"})
    assert [e.id for e in optimizer.front()] == [steady.id]
    assert [e.id for e in optimizer.evaluations] == [lucky.id, steady.id]
    assert optimizer.hypervolume({"m": 3.0}) == pytest.approx(1.0)
    assert archive.extremes.tolist() == [[2.0], [2.5]], "not what luck gave"


def test_imports_of_one_network_are_pooled_and_stand_on_the_front_once() -> None:
    optimizer = Optimizer(SearchSpace([Integer("i", 0, 99)]), {"m": "minimize"}, surrogate="none")
    for m in (3.0, 1.0, 2.0):
        optimizer.inject({"i": 5}, {"m": m})
    (best,) = optimizer.front()
    assert best.metrics == {"m": 2.0}
    assert best.measurements == 3
    optimizer.inject({"i": 7}, {"m": 1.5})
    assert [e.params for e in optimizer.front()] == [{"i": 7}]
    optimizer.remeasure(4, {"m": 2.0})
    assert [e.params for e in optimizer.front()] == [{"i": 7}], "1.75 on average"


def test_what_cannot_be_measured_again_is_refused_and_nothing_is_stored() -> None:
    optimizer = Optimizer(bits_space(), GOALS, costs=size_only, surrogate="none")
    first, second, third = (optimizer.ask() for _ in range(3))
    with pytest.raises(KeyError, match="99 was never asked for"):
        optimizer.remeasure(99, {"accuracy": 1})
    with pytest.raises(ValueError, match=rf"candidate {first.id} has no result yet .running."):
        optimizer.remeasure(first.id, {"accuracy": 1})
    optimizer.fail(second.id)
    with pytest.raises(ValueError, match=r"no result yet .failed."):
        optimizer.remeasure(second.id, {"accuracy": 1})
    optimizer.tell(third.id, {"accuracy": 0.5})
    with pytest.raises(ValueError, match="accuracy"):
        optimizer.remeasure(third.id, {"accuracy": float("nan")})
    with pytest.raises(ValueError, match="expected a dict"):
        optimizer.remeasure(third.id, 0.7)  # type: ignore[arg-type]  # a user's mistake
    assert optimizer.evaluations[-1].measurements == 1
    assert optimizer.remeasure(third.id, {"accuracy": 0.7}).metrics == {
        "accuracy": pytest.approx(0.6),
        **size_only(third.params),
    }


@pytest.mark.parametrize("surrogate", ["none", "gp"])
def test_a_replay_of_measurements_goes_on_as_the_search_did(surrogate: str) -> None:
    options: dict[str, Any] = {"costs": size_only, "seed": 4, "surrogate": surrogate}
    first, rng = Optimizer(bits_space(), GOALS, **options), random.Random(0)
    log: list[Evaluation | Measurement] = []
    for k in range(18):
        candidate = first.ask()
        first.tell(candidate.id, noisy(candidate.params, rng))
        log.append(first.evaluations[-1])
        if k % 4 == 3:
            best = first.front()[0].id
            metrics = noisy(first.results.archive[best].params, rng)
            first.remeasure(best, metrics)
            log.append(Measurement(best, metrics))
    again = Optimizer.replay(bits_space(), GOALS, log, **options)
    assert again.evaluations == first.evaluations
    assert again.front() == first.front()
    assert [again.ask().params for _ in range(4)] == [first.ask().params for _ in range(4)]
    # What was found holds all measurements, too.
    whole = Optimizer.replay(bits_space(), GOALS, first.evaluations, **options)
    assert whole.front() == first.front()
