from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from ga import (
    Constraint,
    Evaluation,
    Objectives,
    Optimizer,
)
from ga.messages import Messages
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.extra_trees import ExtraTrees, Predictor
from ga.surrogate.gaussian_process import GaussianProcess
from ga.surrogate.surrogate import Surrogate
from ga.surrogate.warped_process import WarpedGaussianProcess
from support.spaces import GOALS, bits_space, size_only, truth

NONE = Sensitivities.parse(None)
REFERENCE = {"accuracy": 0.0, "size_kb": 80.0}


def run(optimizer: Optimizer, trials: int) -> None:
    for _ in range(trials):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, truth(candidate.params))


# ---- predictors and features


@pytest.mark.parametrize("kind", ["trees", "gp"])
def test_predictors_learn_and_know_what_they_do_not_know(kind: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((80, 3))
    values = rows[:, 0] + 0.5 * np.sin(5 * rows[:, 1])
    model = made(kind, 3)
    model.fit(rows, values)
    fresh = rng.random((200, 3))
    mean, deviation = model.predict(fresh)
    wanted = fresh[:, 0] + 0.5 * np.sin(5 * fresh[:, 1])
    assert np.corrcoef(mean, wanted)[0, 1] > 0.9
    assert (deviation >= 0).all()
    again, _ = make_fitted(kind, rows, values).predict(fresh)
    assert np.array_equal(mean, again)


def made(kind: str, columns: int, sign: float = 0.0) -> Predictor:
    return ExtraTrees(0) if kind == "trees" else WarpedGaussianProcess(range(columns), sign)


def make_fitted(kind: str, rows: Any, values: Any) -> Any:
    model = made(kind, rows.shape[1])
    model.fit(rows, values)
    return model


# ---- surrogate


@pytest.mark.slow
def test_the_surrogate_beats_the_plain_search() -> None:
    volumes: dict[str, list[float]] = {"gp": [], "trees": [], "none": []}
    for kind, found in volumes.items():
        for seed in range(2):
            optimizer = Optimizer(bits_space(), GOALS, costs=size_only, seed=seed, surrogate=kind)
            run(optimizer, 30)
            found.append(optimizer.hypervolume(REFERENCE))
    assert sum(volumes["gp"]) > sum(volumes["none"])
    assert sum(volumes["trees"]) > sum(volumes["none"])


def test_candidates_say_that_they_come_from_the_surrogate() -> None:
    optimizer = Optimizer(bits_space(), GOALS, costs=size_only, surrogate="gp")
    run(optimizer, 30)
    origins = [e.origin for e in optimizer.evaluations]
    assert origins[:12].count("surrogate") <= 2
    assert origins[12:].count("surrogate") > 12
    assert set(optimizer.rank_correlation) == {"accuracy"}


def test_costs_that_nobody_told_are_learned_from_a_few_results() -> None:
    """A size adds up over genes, or over products of two: thirty results say nearly all of it."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (330, 8)) / 4.0
    weights = rng.uniform(1, 10, 8)
    sums = rows @ weights
    products = (1.2 - rows[:, :4]) * (1.5 - rows[:, 4:]) @ weights[:4]
    for values, learned, share in ((sums, 30, 0.02), (products, 60, 0.1)):
        for sign in (1.0, -1.0):
            model = WarpedGaussianProcess(range(8), sign)
            model.fit(rows[:learned], values[:learned])
            gaps = np.abs(model.predict(rows[60:])[0] - values[60:])
            assert gaps.mean() < share * np.std(values), (learned, sign)


def test_a_process_predicts_each_value_from_the_others() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((12, 2))
    values = np.sin(4 * rows[:, 0]) + rows[:, 1]
    process = GaussianProcess(range(2))
    kernel = process.fit(rows, values)
    left_out = process.left_out()
    # Leaving a row out by giving it to predict: the columns stay standardized as with all rows.
    inverse = np.linalg.inv(
        process._matrix(process._rows, process._effects)
        + (np.exp(kernel.theta[2]) + 1e-8) * np.eye(12)
    )
    assert np.allclose(inverse, process._inverse)
    unit = (values - values.mean()) / values.std()
    covariance = np.linalg.inv(inverse)
    for i in range(12):
        rest = np.arange(12) != i
        guess = covariance[i, rest] @ np.linalg.solve(covariance[np.ix_(rest, rest)], unit[rest])
        assert left_out[i] == pytest.approx(values.mean() + values.std() * guess, abs=1e-4)


def test_without_costs_every_objective_is_predicted() -> None:
    optimizer = Optimizer(bits_space(), GOALS, surrogate="gp")
    run(optimizer, 20)
    assert set(optimizer.rank_correlation) == {"accuracy", "size_kb"}


def test_when_all_is_known_nothing_is_predicted() -> None:
    optimizer = Optimizer(bits_space(), GOALS, costs=truth)
    run(optimizer, 20)
    assert optimizer.rank_correlation == {}
    assert optimizer.evaluations[-1].origin == "surrogate"


@pytest.mark.slow
def test_noise_falls_back_to_the_plain_search_and_says_so() -> None:
    rng = random.Random(0)
    optimizer = Optimizer(bits_space(8), GOALS, costs=size_only, surrogate="gp")
    for _ in range(150):
        params = optimizer.space.decode(optimizer.space.sample(rng))
        optimizer.inject(params, {"accuracy": rng.random(), **size_only(params)})
    asked = [optimizer.ask() for _ in range(20)]  # the design comes first
    assert all(candidate.origin != "surrogate" for candidate in asked)
    assert any("plain genetic algorithm goes on" in note for note in optimizer.messages.texts)


def test_pending_candidates_count() -> None:
    optimizer = Optimizer(bits_space(), GOALS, costs=size_only, surrogate="gp")
    run(optimizer, 25)
    asked = [optimizer.ask() for _ in range(6)]
    sizes = [c.costs["size_kb"] for c in asked if c.costs]
    assert len(set(sizes)) > 3  # not six neighbours of one place


def test_limits_on_known_costs_hold_for_the_surrogate() -> None:
    optimizer = Optimizer(bits_space(), GOALS, {"size_kb": "<= 25"}, size_only, surrogate="gp")
    run(optimizer, 30)
    assert all(e.metrics and e.metrics["size_kb"] <= 25 for e in optimizer.evaluations)


def test_expensive_constraints_are_predicted() -> None:
    optimizer = Optimizer(bits_space(), GOALS, {"accuracy": ">= 0.8"}, size_only, surrogate="gp")
    run(optimizer, 50)
    late = [e for e in optimizer.evaluations[25:] if e.metrics]
    assert sum(e.metrics["accuracy"] >= 0.8 for e in late if e.metrics) > len(late) / 2


def test_a_replayed_surrogate_search_goes_on_like_the_first() -> None:
    first = Optimizer(bits_space(), GOALS, costs=size_only, seed=3, surrogate="gp")
    run(first, 28)
    flying = [first.ask() for _ in range(3)]
    log = first.evaluations + [Evaluation(c.id, c.params, None, "running") for c in flying]
    second = Optimizer.replay(bits_space(), GOALS, log, costs=size_only, seed=3, surrogate="gp")
    for _ in range(4):
        a, b = first.ask(), second.ask()
        assert (a.id, a.params, a.origin) == (b.id, b.params, b.origin)


@pytest.mark.parametrize(
    "metrics",
    [
        lambda i: {"accuracy": 0.5, "size_kb": float(i)},
        lambda i: {"accuracy": 0.5, "size_kb": 1.0},
        lambda i: {"accuracy": 1e-15 * i, "size_kb": 1e15 * (i % 7)},
    ],
)
def test_degenerate_results_go_on(metrics: Any) -> None:
    optimizer = Optimizer(bits_space(), GOALS, surrogate="gp")
    for i in range(30):
        optimizer.tell(optimizer.ask().id, metrics(i))
    assert len(optimizer.evaluations) == 30


def test_a_cost_function_that_fails_now_and_then() -> None:
    calls = 0

    def costs(params: dict[str, Any]) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise RuntimeError("out of order")
        return {"size_kb": math.nan} if calls % 7 == 0 else size_only(params)

    optimizer = Optimizer(bits_space(), GOALS, costs=costs, surrogate="gp")
    run(optimizer, 25)
    assert len(optimizer.evaluations) == 25
    assert len(optimizer.messages.texts) == 2


def test_costs_that_come_into_sight_late_are_learned_from() -> None:
    silent = True

    def costs(params: dict[str, Any]) -> dict[str, float]:
        return {} if silent else {"macs": 2 * size_only(params)["size_kb"]}

    optimizer = Optimizer(bits_space(), GOALS, costs=costs, surrogate="gp")
    run(optimizer, 17)
    silent = False
    run(optimizer, 6)
    assert optimizer.evaluations[-1].origin == "surrogate"


def test_a_batch_method_is_used_and_checked() -> None:
    class Costs:
        batches = 0

        def __call__(self, params: dict[str, Any]) -> dict[str, float]:
            return size_only(params)

        def batch(self, many: list[dict[str, Any]]) -> list[dict[str, float]]:
            self.batches += 1
            return [size_only(p) for p in many]

    costs = Costs()
    optimizer = Optimizer(bits_space(), GOALS, costs=costs, surrogate="gp")
    run(optimizer, 15)
    assert costs.batches > 0


def test_a_candidate_of_unknown_costs_can_be_forecast_beside_known_ones() -> None:
    surrogate = Surrogate(bits_space(1), Objectives.parse(GOALS), (), "gp", NONE, 0, Messages())
    for i in range(12):
        genome = bits_space(1).nth(i)
        surrogate.add(genome, {"size_kb": float(i)}, {"accuracy": i / 12, "size_kb": float(i)})
    assert surrogate.prepare({"size_kb"})
    forecast = surrogate.forecast([bits_space(1).nth(20)], [{}])
    assert not forecast.known[0]
    assert np.isfinite(forecast.mean).all()


def test_limits_of_objectives_end_the_region_to_be_won_and_others_are_chances() -> None:
    def feasible(metric: str) -> np.ndarray[Any, Any]:
        surrogate = Surrogate(
            bits_space(1), Objectives.parse(GOALS), (Constraint(metric, ">=", 0.5),), "gp", NONE, 0,
            Messages(),
        )  # fmt: skip
        for i in range(12):
            kb, quality = float(i), math.sin(i)
            surrogate.add(
                bits_space(1).nth(i),
                {"size_kb": kb},
                {"accuracy": quality, "recall": quality, "size_kb": kb},
            )
        assert surrogate.prepare({"size_kb"})
        return surrogate.forecast([bits_space(1).nth(20)], [{"size_kb": 1.0}]).feasible

    assert feasible("accuracy") == [1.0]
    assert 0.0 < feasible("recall")[0] < 1.0


def test_repeated_results_are_averaged() -> None:
    surrogate = Surrogate(
        bits_space(1),
        Objectives.parse(GOALS),
        (Constraint("accuracy", ">=", 0.2),),
        "gp",
        NONE,
        0,
        Messages(),
    )
    genomes = [bits_space(1).nth(i) for i in range(11)]
    for genome in genomes * 2:
        surrogate.add(
            genome, {}, {"accuracy": random.Random(repr(genome)).random(), "size_kb": 1.0}
        )
    assert surrogate.prepare(set())
    forecast = surrogate.forecast(genomes, [{}] * 11)
    assert np.isfinite(forecast.mean).all()
    assert ((forecast.feasible >= 0) & (forecast.feasible <= 1)).all()


def test_unknown_options_are_refused() -> None:
    for options in ({"surrogate": "svm"}, {"survival": "spea2"}, {"stagnation": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Optimizer(bits_space(), GOALS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["trees", "gp"])
def test_a_seed_may_be_a_large_number(kind: str) -> None:
    optimizer = Optimizer(bits_space(), GOALS, costs=size_only, seed=2**40 + 1, surrogate=kind)
    for _ in range(30):
        candidate = optimizer.ask()
        optimizer.tell(
            candidate.id, {"accuracy": sum(candidate.params.values()), **candidate.costs}
        )
    assert any(e.origin == "surrogate" for e in optimizer.evaluations)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_small_differences_near_the_best_are_told_apart(sign: float) -> None:
    """Effects that multiply, failures far away: only the stretched process ranks the good ones."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 1, (160, 4))
    values = sign * np.exp(12 * rows.mean(axis=1) ** 2)
    train, good = slice(0, 80), np.arange(80, 160)[np.argsort(sign * values[80:])[:30]]
    gaps = {}
    for ends in (0.0, sign):
        model = WarpedGaussianProcess(range(4), ends)
        model.fit(rows[train], values[train])
        assert model.shape is not None
        assert model.shape.stretched is bool(ends)
        mean, deviation = model.predict(rows[good])
        assert (deviation > 0).all()
        gaps[ends] = np.abs(mean - values[good]).mean()
    assert gaps[sign] < gaps[0.0]


def test_fewer_results_than_it_needs_leave_the_plain_search() -> None:
    optimizer = Optimizer(bits_space(), GOALS, costs=size_only, population_size=2)
    run(optimizer, 10)
    assert all(e.origin != "surrogate" for e in optimizer.evaluations)
    run(optimizer, 10)
    assert any(e.origin == "surrogate" for e in optimizer.evaluations)


def test_when_nothing_is_feasible_the_search_goes_on() -> None:
    optimizer = Optimizer(bits_space(), GOALS, {"accuracy": ">= 2"}, size_only, surrogate="gp")
    run(optimizer, 25)
    assert len(optimizer.evaluations) == 25
    assert optimizer.front() == []
