from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import pytest

import ga.simulation
from ga import Candidate, Optimizer
from ga.simulation import SimulatedTrial, Simulation, TrialScript
from support.spaces import GOALS, bits_space, truth


def test_results_come_in_the_order_of_the_clock() -> None:
    durations = iter([5.0, 1.0, 1.0, 9.0])
    optimizer = Optimizer(bits_space(), GOALS, surrogate="none")
    simulation = Simulation(
        optimizer, lambda p: TrialScript([(next(durations), truth(p))]), slots=2
    )
    outcomes = simulation.run(4)
    assert [o.id for o in outcomes] == [2, 3, 1, 4]
    assert [o.time for o in outcomes] == [1, 2, 5, 11]


def test_stopped_trials_are_censored_and_cost_less() -> None:
    optimizer = Optimizer(bits_space(), GOALS, surrogate="none")
    half = {"accuracy": 0.1, "size_kb": 1.0}
    simulation = Simulation(
        optimizer,
        lambda p: TrialScript([(1.0, half), (1.0, half), (1.0, truth(p))]),
        slots=3,
        stop=lambda candidate, step, metrics: candidate.id % 2 == 0,
    )
    outcomes = simulation.run(20)
    assert {o.steps for o in outcomes if o.status == "censored"} == {1}
    assert {o.steps for o in outcomes if o.status == "complete"} == {3}
    assert {e.status for e in optimizer.evaluations} == {"complete", "censored"}


def test_thousands_of_trials_take_seconds() -> None:
    rng = random.Random(0)

    def course(params: dict[str, Any]) -> TrialScript:
        return TrialScript([(rng.expovariate(1), truth(params))], crashes=rng.random() < 0.05)

    begin = time.process_time()
    optimizer = Optimizer(bits_space(6), GOALS, surrogate="none")
    outcomes = Simulation(optimizer, course, slots=16).run(2000)
    assert time.process_time() - begin < 30
    assert len(outcomes) == 2000
    assert len({repr(o.params) for o in outcomes}) == 2000


def test_an_exhausted_space_ends_the_simulation() -> None:
    simulation = Simulation(
        Optimizer(bits_space(1), GOALS, surrogate="none"), lambda p: TrialScript([(1.0, truth(p))])
    )
    assert len(simulation.run(100)) == 24
    assert simulation.exhausted


def test_impossible_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="seconds from 0 on"):
        TrialScript([])
    with pytest.raises(ValueError, match="slots=0"):
        Simulation(Optimizer(bits_space(), GOALS), lambda p: TrialScript([(1, p)]), slots=0)


def test_a_stopped_candidate_may_run_again() -> None:
    optimizer = Optimizer(bits_space(), GOALS, surrogate="none")
    waiting: list[int] = []

    def stop(candidate: Candidate, step: int, metrics: Mapping[str, Any]) -> bool:
        stopped = candidate.id == 2 and 2 not in {e.id for e in optimizer.evaluations}
        if stopped:
            waiting.append(candidate.id)
        return stopped

    simulation = Simulation(
        optimizer,
        lambda p: TrialScript([(1.0, {"accuracy": 0.1, "size_kb": 1.0}), (1.0, truth(p))]),
        slots=1,
        stop=stop,
        again=lambda: optimizer.reopen(waiting.pop()) if waiting else None,
    )
    outcomes = simulation.run(4)
    assert [(o.id, o.status) for o in outcomes] == [
        (1, "complete"),
        (2, "censored"),
        (2, "complete"),
        (3, "complete"),
    ]


def test_the_names_of_before_are_found() -> None:
    assert ga.simulation.Course is TrialScript
    assert ga.simulation.Outcome is SimulatedTrial
    with pytest.raises(AttributeError, match="Rungs"):
        _ = ga.simulation.Rungs
