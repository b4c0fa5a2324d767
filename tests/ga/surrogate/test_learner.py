"""What the surrogate's learner hands on, and the training data that it makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ga.evaluation import CENSORED, FAILED, RUNNING, Evaluation
from ga.messages import Messages
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Objectives
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.learner import Learner
from ga.surrogate.surrogate import Surrogate
from ga.surrogate.training_data import TrainingData
from support.spaces import GOALS, bits_space, size_only, truth

SPACE = bits_space(2)
NAMES = ("accuracy", "size_kb")


class Counting:
    """A cost function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, params: dict[str, Any]) -> dict[str, float]:
        self.calls += 1
        return size_only(params)


def learner(costs: Any = None) -> tuple[Learner, KnownCosts]:
    untrained = Surrogate(
        SPACE, Objectives.parse(GOALS), (), "gp", Sensitivities.parse(None), 0, Messages()
    )
    known = KnownCosts(costs, Messages())
    return Learner(untrained, known), known


def evaluation(number: int, **options: Any) -> tuple[tuple[int | float, ...], Evaluation]:
    genome = SPACE.nth(number)
    params = SPACE.decode(genome)
    return genome, Evaluation(number, params, options.pop("metrics", truth(params)), **options)


def test_it_is_ready_after_ten_results_and_forecasts_them() -> None:
    pupil, costs = learner()
    for number in range(0, 200, 20):
        assert not pupil.surrogate.prepare(costs.metrics)
        pupil.learn(*evaluation(number))
    assert pupil.surrogate.prepare(costs.metrics)
    genomes = [SPACE.nth(number) for number in range(0, 200, 20)]
    forecast = pupil.surrogate.forecast(genomes, [{}] * 10)
    wanted = np.array([truth(SPACE.decode(genome))["accuracy"] for genome in genomes])
    assert forecast.mean[:, 0] == pytest.approx(-wanted, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"status": FAILED, "metrics": None},
        {"status": CENSORED},
        {"status": RUNNING, "metrics": None},
    ],
)
def test_nothing_is_learned_without_a_result_or_what_is_expected(options: dict[str, Any]) -> None:
    pupil, costs = learner()
    for number in range(20):
        pupil.learn(*evaluation(number, **options))
    assert not pupil.surrogate.prepare(costs.metrics)
    assert pupil.costed == {}


def test_what_is_outside_the_space_is_not_learned() -> None:
    pupil, costs = learner()
    for number in range(20):
        pupil.learn(None, evaluation(number)[1])
    assert not pupil.surrogate.prepare(costs.metrics)


def test_expected_results_of_stopped_trials_teach_but_do_not_count_as_results() -> None:
    def accuracy(*, taught: bool) -> float:
        pupil, costs = learner()
        for number in range(0, 200, 20):
            pupil.learn(*evaluation(number))
        genome, stopped = evaluation(110, status=CENSORED, metrics={})
        if taught:
            guess = {"accuracy": 0.0, "size_kb": 1.0}
            pupil.learn(genome, Evaluation(110, stopped.params, {}, CENSORED, expected=guess))
        assert pupil.surrogate.prepare(costs.metrics)
        return -float(pupil.surrogate.forecast([genome], [{}]).mean[0, 0])

    assert accuracy(taught=True) < accuracy(taught=False) - 0.2
    pupil, costs = learner()
    guess = {"accuracy": 0.5, "size_kb": 1.0}
    for number in range(20):
        pupil.learn(*evaluation(number, status=CENSORED, metrics={}, expected=guess))
    assert not pupil.surrogate.prepare(costs.metrics)


def test_known_costs_are_asked_for_once_and_taken_from_where_they_are() -> None:
    counting = Counting()
    pupil, costs = learner(counting)
    genome, told = evaluation(3)
    pupil.learn(genome, told, {"size_kb": 5.0})
    assert pupil.costed == {genome: {"size_kb": 5.0}}, "asked for here: what was known then"
    assert counting.calls == 0
    second, injected = evaluation(4)
    pupil.learn(second, injected)
    assert pupil.costed[second] == size_only(injected.params)
    assert counting.calls == 1, "nothing says yet which metrics are costs"
    third, other = evaluation(5)
    pupil.learn(third, other)
    assert pupil.costed[third] == {"size_kb": truth(other.params)["size_kb"]}
    assert counting.calls == 1, "the result has them"
    assert costs.metrics == {"size_kb"}


def data(*entries: tuple[Any, float, bool]) -> TrainingData:
    found = TrainingData(NAMES)
    for genome, value, guessed in entries:
        found.add(genome, {"kb": value}, {"accuracy": value, "size_kb": 2 * value}, guessed=guessed)
    return found


def test_repeated_results_are_averaged_and_a_result_replaces_a_guess() -> None:
    found = data(
        ((0,), 1.0, False),
        ((1,), 9.0, True),
        ((2,), 4.0, False),
        ((0,), 3.0, False),
        ((1,), 5.0, False),
        ((2,), 8.0, True),
    )
    assert (len(found), found.results) == (6, 4)
    genomes, costs, table = found.first(6)
    assert genomes == [(0,), (2,), (1,)], "the result comes where it came, not its guess"
    assert table.tolist() == [[2.0, 4.0], [4.0, 8.0], [5.0, 10.0]]
    assert costs == [{"kb": 1.0}, {"kb": 4.0}, {"kb": 5.0}]


def test_what_came_later_changes_nothing_of_the_first_entries() -> None:
    found = data(((0,), 1.0, False), ((1,), 9.0, True))
    before = found.first(2)
    found.add((0,), {}, {"accuracy": 7.0, "size_kb": 7.0}, guessed=False)
    genomes, _, table = found.first(2)
    assert genomes == before[0]
    assert table.tolist() == before[2].tolist() == [[1.0, 2.0], [9.0, 18.0]]
    genomes, _, table = found.first(1, guesses=False)
    assert (genomes, table.tolist()) == ([(0,)], [[1.0, 2.0]])
    assert data().first(5)[2].shape == (0, 2)
