"""The sampler in real studies of Optuna, held to the optimizer's own contract."""

# ruff: noqa: E402 - without the extra the tests are skipped before its imports

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import ga
from ga.problem.objectives import parse_constraints, violation
from ga.testing import GOALS, OptimizerContract, contract_space, contract_trial
from nni_plugin.study.study import Study as OwnStudy
from nni_plugin.study.tuner_args import TunerArgs
from support.extras import extra
from support.spaces import GOALS as BITS_GOALS
from support.spaces import bits_space, mixed_space, size_only, truth

optuna = extra("optuna", "optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nni_plugin.adapters.optuna import JointGASampler, SearchEndedError, suggest
from nni_plugin.adapters.optuna_space import OptunaSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)
optuna.logging.enable_propagation()


def study_of(sampler: JointGASampler, goals: Mapping[str, str] = GOALS, **more: Any) -> Any:
    return optuna.create_study(directions=list(goals.values()), sampler=sampler, **more)


def contract_objective(trial: Any) -> tuple[float, ...]:
    metrics = contract_trial(suggest(trial, contract_space()))
    return metrics["loss"], metrics["gain"]


class AskAndTell:
    """A study as `ga.simulation.AskTell`: what a loop with `ask` and `tell` sees of the sampler."""

    def __init__(
        self, space: ga.SearchSpace, goals: Mapping[str, str], bounds: Mapping[str, object],
        seed: int, **options: Any,
    ) -> None:  # fmt: skip
        self._space, self._goals = space, ga.Objectives.parse(goals)
        self._bounds = parse_constraints(bounds)
        sampler = JointGASampler(
            space, seed=seed, metrics=list(goals), constraints=bounds, **options
        )
        self.study = study_of(sampler, goals)

    def ask(self) -> ga.Candidate:
        trial = self.study.ask()
        return ga.Candidate(trial.number, suggest(trial, self._space))

    def tell(self, number: int, metrics: Mapping[str, Any]) -> None:
        # Optuna itself takes what is not a number for a failure, and goes on.
        self._goals.losses(metrics)
        violation(self._bounds, metrics)
        self.study.tell(number, [metrics[name] for name in self._goals.names])

    def fail(self, number: int, reason: str = "") -> None:
        self.study.tell(number, state=optuna.trial.TrialState.FAIL)

    def censor(self, number: int, metrics: Mapping[str, Any]) -> None:
        self.study.tell(number, state=optuna.trial.TrialState.PRUNED)


class TestContract(OptimizerContract):
    options: ClassVar[dict[str, Any]] = {"surrogate": "none"}

    def make(self, space: Any, objectives: Any, constraints: Any, seed: int) -> AskAndTell:
        return AskAndTell(space, objectives, constraints, seed, **self.options)


class TestContractWithSurrogate(TestContract):
    trials = 14
    options: ClassVar[dict[str, Any]] = {"surrogate": "trees", "population_size": 6}


# ---- the same search as everywhere


def own_search(seed: int, count: int, **options: Any) -> tuple[list[Any], list[Any]]:
    """What `ga.Optimizer` asks, one trial at a time, and its front."""
    optimizer = ga.Optimizer(contract_space(), GOALS, seed=seed, **options)
    asked = []
    for _ in range(count):
        candidate = optimizer.ask()
        asked.append(candidate.params)
        optimizer.tell(candidate.id, contract_trial(candidate.params))
    return asked, sorted((e.metrics or {})["loss"] for e in optimizer.front())


def searched(study: Any, space: ga.SearchSpace | None = None) -> list[Any]:
    known = OptunaSpace.of(space or contract_space())
    return [known.nested(trial.params) for trial in study.trials]


@pytest.mark.parametrize("seed", [0, 7])
def test_one_trial_at_a_time_is_the_optimizers_own_search(seed: int) -> None:
    study = study_of(JointGASampler(contract_space(), seed=seed))
    study.optimize(contract_objective, n_trials=18)
    asked, front = own_search(seed, 18)
    assert searched(study) == asked
    assert sorted(trial.values[0] for trial in study.best_trials) == front


def test_distributions_search_as_a_study_of_ours_in_nnis_space(tmp_path: Path) -> None:
    """Two directions, a limit on a cost that is known before a trial."""
    nni = {
        "a.prune": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
        "a.w_bits": {"_type": "choice", "_value": [2, 4, 8]},
        "act": {"_type": "choice", "_value": ["relu", "tanh"]},
        "units": {"_type": "randint", "_value": [1, 31]},
        "rate": {"_type": "loguniform", "_value": [1e-4, 1.0]},
    }
    distributions = {
        "a.prune": CategoricalDistribution([0.0, 0.25, 0.5]),
        "a.w_bits": CategoricalDistribution([2, 4, 8]),
        "act": CategoricalDistribution(["relu", "tanh"]),
        "units": IntDistribution(1, 30),
        "rate": FloatDistribution(1e-4, 1.0, log=True),
    }

    def costs(params: Mapping[str, Any]) -> dict[str, float]:
        return {"size": params["units"] * params["a.w_bits"] * (1 - params["a.prune"])}

    def quality(params: Mapping[str, Any]) -> float:
        return params["units"] / (1 + params["a.prune"]) - abs(math.log10(params["rate"]) + 2)

    goals, bounds = {"quality": "maximize", "size": "minimize"}, {"size": "<= 60"}
    args = TunerArgs.parse({"objectives": goals, "constraints": bounds, "seed": 4}, base=[tmp_path])
    object.__setattr__(args, "cost_model", lambda: costs)
    own = OwnStudy(args, nni, tmp_path / "journal.jsonl")
    for _ in range(16):
        asked = own.ask()
        own.tell(asked.uid, {"quality": quality(asked.params), **costs(asked.params)})
    own.close()

    sampler = JointGASampler(
        distributions, seed=4, metrics=list(goals), costs=costs, constraints=bounds
    )
    study = study_of(sampler, goals)
    for _ in range(16):
        trial = study.ask(distributions)
        study.tell(trial, [quality(trial.params), costs(trial.params)["size"]])
    assert [t.params for t in study.trials] == [t.params for t in own.trials.values()]
    assert all(costs(t.params)["size"] <= 60 for t in study.trials)
    assert {t.number + 1 for t in study.best_trials} == {e.id for e in own.optimizer.front()}


def test_a_conditional_space_is_searched_too() -> None:
    space = mixed_space()
    study = optuna.create_study(sampler=JointGASampler(space, seed=0, surrogate="none"))

    def objective(trial: Any) -> float:
        params = suggest(trial, space)
        assert space.decode(space.encode(params)) == params
        return float(params["units"])

    study.optimize(objective, n_trials=30)
    assert {"optimizer/sgd/decay/on/k", "optimizer/adam/beta"} <= {
        name for trial in study.trials for name in trial.params
    }
    optimizer = ga.Optimizer(space, {"value": "minimize"}, seed=0, surrogate="none")
    for params in searched(study, space):
        assert optimizer.ask().params == params
        optimizer.tell(len(optimizer.evaluations) + 1, {"value": params["units"]})


# ---- constraints


def constrained(trial: Any) -> list[float]:
    return [trial.user_attrs["size"] - 12.0]


@pytest.mark.parametrize("kept_by", ["constraints_func", "constraints"])
def test_constraints_that_a_trial_reports(kept_by: str) -> None:
    """Optuna's own best trials keep them, and the optimizer's front is the same."""
    given: dict[str, Any] = {
        "constraints_func": {"constraints_func": constrained},
        "constraints": {"constraints": {"size": "<= 12"}},
    }[kept_by]
    space = bits_space(2)
    study = study_of(
        JointGASampler(space, seed=1, surrogate="none", **given), {"accuracy": "maximize"}
    )

    def objective(trial: Any) -> float:
        metrics = truth(suggest(trial, space))
        trial.set_user_attr("size", metrics["size_kb"])
        return metrics["accuracy"]

    study.optimize(objective, n_trials=40)
    assert {t.user_attrs["size"] <= 12 for t in study.trials} == {True, False}
    if kept_by == "constraints" and optuna.__version__.startswith("4"):
        return  # its best trials know of `constraints_func` alone
    assert all(t.user_attrs["size"] <= 12 for t in study.best_trials)
    front = study.sampler.optimizer_of(study).front()
    assert {e.id - 1 for e in front} == {t.number for t in study.best_trials}


def test_a_limit_on_a_known_cost_is_kept_before_a_trial() -> None:
    space = bits_space(3)
    sampler = JointGASampler(
        space, seed=0, metrics=list(BITS_GOALS), costs=size_only,
        constraints={"size_kb": "<= 20"}, surrogate="none",
    )  # fmt: skip
    study = study_of(sampler, BITS_GOALS)

    def objective(trial: Any) -> tuple[float, ...]:
        metrics = truth(suggest(trial, space))
        return metrics["accuracy"], metrics["size_kb"]

    study.optimize(objective, n_trials=20)
    assert all(t.values[1] <= 20 for t in study.trials)


def test_a_limit_that_nothing_keeps_is_said() -> None:
    sampler = JointGASampler(
        bits_space(1), seed=0, metrics=list(BITS_GOALS), costs=size_only,
        constraints={"size_kb": "<= 0.01"},
    )  # fmt: skip
    with pytest.raises(ga.UnsatisfiableConstraint, match="size_kb"):
        suggest(study_of(sampler, BITS_GOALS).ask(), bits_space(1))


# ---- spaces that are found, change, or end


def test_without_a_space_it_is_found_from_the_first_trial() -> None:
    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", -5, 5)
        trial.suggest_categorical("only", ["one"])
        n = trial.suggest_int("n", 1, 1000, log=True)
        step = trial.suggest_int("step", 8, 64, step=8)
        part = trial.suggest_float("part", 0.0, 1.0, step=0.1)
        flag = trial.suggest_categorical("flag", [True, False, None])
        assert step % 8 == 0
        assert round(part, 6) == round(round(part * 10) / 10, 6)
        return x**2 + n + step - part + (flag is None)

    study = optuna.create_study(sampler=JointGASampler(seed=0, surrogate="none"))
    study.optimize(objective, n_trials=60)
    assert study.best_value < 60
    optimizer = study.sampler.optimizer_of(study)
    assert [gene.name for gene in optimizer.space.genes] == [
        "x", "only", "n", "step", "part", "flag",
    ]  # fmt: skip
    assert len(optimizer.evaluations) == 60


def test_what_not_every_trial_has_is_drawn_at_random_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def objective(trial: Any) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float(f"{kind}_rate", 0, 1)

    runs = []
    for parts in ([20], [8, 12]):
        study = optuna.create_study(sampler=JointGASampler(seed=3, surrogate="none"))
        for count in parts:
            study.optimize(objective, n_trials=count)
            study.sampler = JointGASampler(seed=3, surrogate="none")
        runs.append([trial.params for trial in study.trials])
    assert "drawn at random" in caplog.text
    assert "ga.SearchSpace" in caplog.text
    assert runs[0] == runs[1], "what is drawn at random comes of the seed too"


def test_a_trial_that_lacks_a_parameter_of_the_given_space_is_no_parent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = study_of(JointGASampler(bits_space(1), seed=0), {"v": "minimize"})
    study.add_trial(
        optuna.trial.create_trial(
            params={"other": 1.0}, distributions={"other": FloatDistribution(0, 2)}, value=1.0
        )
    )
    suggest(study.ask(), bits_space(1))
    assert "does not fit the search space" in caplog.text


def test_a_finite_space_ends_the_study() -> None:
    space = ga.SearchSpace([ga.Ordered("a", (1, 2, 3)), ga.Categorical("b", ("x", "y"))])
    study = optuna.create_study(sampler=JointGASampler(space, seed=0))
    study.optimize(lambda trial: suggest(trial, space)["a"], n_trials=100)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * 6 + ["PRUNED"]
    with pytest.raises(SearchEndedError, match="no new candidate"):
        suggest(study.ask(), space)


def test_a_budget_ends_the_study() -> None:
    sampler = JointGASampler(contract_space(), seed=0, budget=9, surrogate="none")
    study = study_of(sampler)
    study.optimize(contract_objective, n_trials=100)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 9 + ["PRUNED"]


def test_pruned_trials_are_stopped_ones() -> None:
    """With Optuna's own pruner."""
    rng = random.Random(0)

    def objective(trial: Any) -> float:
        value = trial.suggest_float("x", 0, 1)
        for step in range(4):
            trial.report(value + rng.random(), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(value)

    study = optuna.create_study(
        sampler=JointGASampler(seed=0, surrogate="none"),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
    )
    study.optimize(objective, n_trials=30)
    states = [t.state.name for t in study.trials]
    found = study.sampler.optimizer_of(study).evaluations
    assert [e.status for e in found].count("censored") == states.count("PRUNED") > 0


# ---- bad input


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": {}}, "non-empty dict"),
        ({"space": {"x": "uniform"}}, "parameter 'x'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": "one"}, "seed='one'"),
        ({"population_size": 0}, "population_size"),
        ({"population": 20}, "population"),
        ({"survival": "best"}, "survival='best'"),
        ({"constraints": {"a": "below 3"}}, "cannot be read"),
        ({"costs": 3}, "costs=3"),
    ],
)
def test_arguments_that_make_no_sense(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JointGASampler(**given)


@pytest.mark.parametrize("metrics", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_names_that_are_not_those_of_the_values(metrics: list[str]) -> None:
    study = study_of(JointGASampler(contract_space(), metrics=metrics))
    with pytest.raises(ValueError, match="2 values"):
        suggest(study.ask(), contract_space())


def test_values_that_are_not_finite_count_as_failed() -> None:
    study = study_of(JointGASampler(contract_space(), seed=0), {"v": "minimize"})
    study.optimize(lambda t: suggest(t, contract_space()) and math.inf, n_trials=3)
    found = study.sampler.optimizer_of(study).evaluations
    assert [e.status for e in found] == ["failed"] * 3
