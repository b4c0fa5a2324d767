"""The searcher in real runs of Ray Tune, held to the optimizer's own contract."""

# ruff: noqa: E402 - without the extra the tests are skipped before its imports

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import ga
from ga.problem.objectives import parse_constraints, violation
from ga.testing import GOALS, OptimizerContract, contract_space
from support.extras import extra
from support.spaces import GOALS as BITS_GOALS
from support.spaces import bits_space, mixed_space, size_only, truth

extra("ray.tune", "ray")

import ray
from ray import tune
from ray.tune.search import Searcher

from nni_plugin.adapters.ray_tune import JointGASearch
from nni_plugin.adapters.ray_tune_space import TuneSpace

PLAIN = {"surrogate": "none"}


class AskAndTell:
    """A searcher as `ga.simulation.AskTell`: what Tune's loop sees of it."""

    def __init__(
        self,
        space: ga.SearchSpace,
        goals: Mapping[str, str],
        bounds: Mapping[str, object],
        seed: int,
        **options: Any,
    ) -> None:
        self._goals, self._bounds = ga.Objectives.parse(goals), parse_constraints(bounds)
        self._searcher = JointGASearch(
            goals, space, constraints=bounds, seed=seed, full_iterations=1, **options
        )
        self._ids = itertools.count()

    def ask(self) -> ga.Candidate:
        number = next(self._ids)
        config = self._searcher.suggest(f"t{number}")
        if config == Searcher.FINISHED:
            raise ga.SpaceExhausted
        assert isinstance(config, dict)
        return ga.Candidate(number, config)

    def tell(self, number: int, metrics: Mapping[str, Any]) -> None:
        # A searcher that raises would end Tune's run: it counts such a trial as failed.
        self._goals.losses(metrics)
        violation(self._bounds, metrics)
        if f"t{number}" not in self._searcher._numbers:
            raise KeyError(number)
        self._searcher.on_trial_complete(f"t{number}", {**metrics, "training_iteration": 1})

    def fail(self, number: int, reason: str = "") -> None:
        self._searcher.on_trial_complete(f"t{number}", error=True)

    def censor(self, number: int, metrics: Mapping[str, Any]) -> None:
        self._searcher.on_trial_complete(f"t{number}", {**metrics, "training_iteration": 0})


class TestContract(OptimizerContract):
    options: ClassVar[dict[str, Any]] = PLAIN

    def make(self, space: Any, objectives: Any, constraints: Any, seed: int) -> AskAndTell:
        return AskAndTell(space, objectives, constraints, seed, **self.options)


# ---- real runs


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local Ray of two slots, without its dashboard."""
    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        for turn in range(3):
            try:
                ray.init(
                    num_cpus=2,
                    include_dashboard=False,
                    configure_logging=False,
                    object_store_memory=80 * 2**20,
                    runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(("tests", "."))}},
                )
                break
            except Exception:  # Ray raises just this where a busy machine takes over 30 s
                ray.shutdown()
                if turn == 2:
                    raise
        yield folder
        ray.shutdown()


def run(
    searcher: Any, folder: Path, trainable: Any, space: Any = None, samples: int = 5, slots: int = 1
) -> Any:
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=samples,
            max_concurrent_trials=slots,
            reuse_actors=True,  # an actor imports Ray once
        ),
        run_config=tune.RunConfig(storage_path=str(folder), name="run", verbose=0),
    )
    return tuner.fit()


def trainable(config: dict[str, Any]) -> dict[str, float]:
    """What a trial of Tune's is: one dict of metrics."""
    loss = config["units"] / config["layer.bits"] + abs(math.log10(config["rate"]) + 2)
    return {"loss": loss, "gain": config["units"] * (1 - config["layer.prune"])}


@pytest.mark.slow
def test_one_trial_at_a_time_is_the_optimizers_own_search(cluster: Path, tmp_path: Path) -> None:
    """In a space of Tune's, with two objectives; then taken up from the file that Tune kept."""
    space = {
        "layer.bits": tune.choice([2, 4, 8]),
        "layer.prune": tune.choice([0.0, 0.25, 0.5]),
        "units": tune.randint(1, 31),
        "rate": tune.loguniform(1e-4, 1.0),
        "epochs": 3,
    }
    results = run(JointGASearch(GOALS, seed=5, **PLAIN), tmp_path, trainable, space)
    assert all(result.config["epochs"] == 3 for result in results)

    optimizer = ga.Optimizer(
        ga.SearchSpace(contract_space().genes[:4]), GOALS, seed=5, surrogate="none"
    )
    for result in results:
        candidate = optimizer.ask()
        assert {**candidate.params, "epochs": 3} == result.config
        optimizer.tell(candidate.id, trainable(candidate.params))

    kept = next((tmp_path / "run").glob("searcher-state-*.pkl"), None)
    assert kept is not None
    again = JointGASearch(GOALS, space, seed=5, **PLAIN)
    again.restore(str(kept))
    assert [e.losses for e in again.optimizer.front()] == [e.losses for e in optimizer.front()]
    assert again.suggest("next") == {**optimizer.ask().params, "epochs": 3}


@pytest.mark.slow
def test_failing_trials_side_by_side(cluster: Path, tmp_path: Path) -> None:
    def some_fail(config: dict[str, Any]) -> dict[str, float]:
        if config["inner"]["x"] < 0.4:
            raise ArithmeticError("a trial that fails")
        return {"y": config["inner"]["x"] * config["n"]}

    searcher = JointGASearch(seed=1, **PLAIN)
    tuner = tune.Tuner(
        some_fail,
        param_space={"inner": {"x": tune.uniform(0, 1)}, "n": tune.qrandint(8, 64, 8)},
        tune_config=tune.TuneConfig(
            metric="y", mode="max", search_alg=searcher, num_samples=6, max_concurrent_trials=2
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    )
    results = tuner.fit()
    found = searcher.optimizer.evaluations
    assert len(found) == 6
    assert [e.status for e in found].count("failed") == results.num_errors > 0
    assert searcher.optimizer.front()[0].metrics["y"] == results.get_best_result().metrics["y"]


# ---- without a cluster


def searched(searcher: JointGASearch, count: int, start: int = 0) -> list[Any]:
    configs = []
    for number in range(start, start + count):
        config = searcher.suggest(str(number))
        assert isinstance(config, dict)
        configs.append(config)
        searcher.on_trial_complete(str(number), truth(config))
    return configs


def test_a_restored_search_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """With a trial in flight, whose result comes after."""
    space = bits_space(2)
    whole = JointGASearch(BITS_GOALS, space, seed=2, surrogate="trees", population_size=4)
    part = JointGASearch(BITS_GOALS, space, seed=2, surrogate="trees", population_size=4)
    assert searched(whole, 11) == searched(part, 11)
    flying = whole.suggest("flying")
    assert flying == part.suggest("flying")
    part.save(str(tmp_path / "state"))
    restored = JointGASearch(BITS_GOALS, space, seed=2, surrogate="trees", population_size=4)
    restored.restore(str(tmp_path / "state"))
    for searcher in (whole, restored):
        searcher.on_trial_complete("flying", truth(flying))
    assert searched(whole, 3, 12) == searched(restored, 3, 12)


def test_every_domain_of_tunes() -> None:
    space = {
        "deep": {"deeper": {"x": tune.uniform(-1, 1)}, "fixed": "text"},
        "q": tune.quniform(0.1, 0.9, 0.1),
        "log": tune.loguniform(1e-5, 1e-1),
        "qlog": tune.qloguniform(1e-2, 1.0, 5e-3),
        "n": tune.randint(0, 10),
        "q_int": tune.qrandint(8, 64, 8),
        "log_int": tune.lograndint(1, 1001),
        "normal": tune.randn(10, 2),
        "q_normal": tune.qrandn(0, 3, 0.5),
        "choice": tune.choice(["a", None, True]),
        "numbers": tune.choice([8, 4, 2]),
    }
    searcher = JointGASearch({"y": "minimize"}, space, seed=0, **PLAIN)
    for turn in range(60):
        config = searcher.suggest(str(turn))
        assert isinstance(config, dict)
        assert config["deep"]["fixed"] == "text"
        assert -1 <= config["deep"]["deeper"]["x"] <= 1
        assert round(config["q"] * 10, 9) in range(1, 10)
        assert config["n"] in range(10)
        assert config["q_int"] in range(8, 65, 8)
        assert 1 <= config["log_int"] <= 1000
        assert (config["q_normal"] * 2).is_integer()
        searcher.on_trial_complete(str(turn), {"y": config["n"] + config["log_int"]})
    assert searcher.optimizer.front()[0].metrics["y"] < 20


def test_a_known_cost_and_a_point_from_elsewhere() -> None:
    searcher = JointGASearch(
        BITS_GOALS, bits_space(2), costs=size_only, constraints={"size_kb": "<= 14"}, **PLAIN
    )
    strong = {"layer0.prune": 0.75, "layer0.w_bits": 2, "layer0.a_bits": 4,
              "layer1.prune": 0.75, "layer1.w_bits": 2, "layer1.a_bits": 4}  # fmt: skip
    searcher.add_evaluated_point(strong, truth(strong))
    configs = searched(searcher, 12)
    assert strong not in configs
    assert all(size_only(config)["size_kb"] <= 14 for config in configs)


def test_nnis_and_nested_spaces_give_their_own_parameters() -> None:
    nni = {"a": {"_type": "choice", "_value": [1, 2]}, "b": {"_type": "uniform", "_value": [0, 1]}}
    assert TuneSpace.of(nni).config({"a": 1, "b": 0.5}) == {"a": 1, "b": 0.5}
    config = JointGASearch({"y": "minimize"}, mixed_space(), seed=1).suggest("0")
    assert isinstance(config, dict)
    assert "_name" in config["optimizer"]


def test_trials_that_a_scheduler_stopped_are_no_results() -> None:
    searcher = JointGASearch({"accuracy": "maximize"}, bits_space(1), full_iterations=4, **PLAIN)
    for turn, iterations in enumerate([4, 1, 4, 2]):
        config = searcher.suggest(str(turn))
        assert isinstance(config, dict)
        searcher.on_trial_complete(
            str(turn), {**truth(config), "training_iteration": iterations, "node": "a"}
        )
    statuses = [e.status for e in searcher.optimizer.evaluations]
    assert statuses == ["complete", "censored", "complete", "censored"]


@pytest.mark.parametrize("result", [{"y": math.nan}, {"y": math.inf}, {"z": 1}, {"y": "1"}, {}])
def test_a_result_that_cannot_be_ranked_counts_as_failed(result: dict[str, Any]) -> None:
    searcher = JointGASearch({"y": "minimize"}, bits_space(1))
    searcher.suggest("0")
    searcher.on_trial_complete("0", result)
    searcher.on_trial_complete("0", {"y": 1.0})
    searcher.on_trial_complete("never", {"y": 1.0})
    assert [e.status for e in searcher.optimizer.evaluations] == ["failed"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": {}}, "tune.loguniform"),
        ({"space": {"x": 3}}, "no domain to search"),
        ({"space": {"x": tune.grid_search([1, 2])}}, "grid_search"),
        ({"space": {"x": tune.sample_from(lambda spec: 1)}}, "parameter 'x'"),
        ({"objectives": {"y": "max"}}, "direction 'max'"),
        ({"constraints": {"y": "small"}}, "cannot be read"),
        ({"full_iterations": 0}, "full_iterations=0"),
        ({"seed": -1}, "seed=-1"),
        ({"population": 3}, "population"),
    ],
)
def test_arguments_that_make_no_sense(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JointGASearch(**{"objectives": {"y": "minimize"}, "space": bits_space(1), **given})


def test_what_is_missing_is_said() -> None:
    with pytest.raises(RuntimeError, match="no objectives"):
        JointGASearch().suggest("0")
    with pytest.raises(RuntimeError, match="no space"):
        JointGASearch({"y": "minimize"}).suggest("0")
    searcher = JointGASearch({"y": "minimize"}, bits_space(1))
    with pytest.raises(ValueError, match=r"metric='z'.*leave it out"):
        searcher.set_search_properties("z", "min", {})


def test_files_that_are_no_states(tmp_path: Path) -> None:
    file = tmp_path / "state"
    searcher = JointGASearch({"y": "minimize"}, bits_space(1), seed=1)
    with pytest.raises(ValueError, match="cannot be read"):
        searcher.restore(str(file))
    for text in ("{", "[]", json.dumps({"version": 0})):
        file.write_text(text)
        with pytest.raises(ValueError, match="state"):
            searcher.restore(str(file))
    searcher.save(str(file))
    with pytest.raises(ValueError, match="seed 1"):
        JointGASearch({"y": "minimize"}, bits_space(1)).restore(str(file))
    with pytest.raises(ValueError, match="give those"):
        JointGASearch({"z": "minimize"}, bits_space(1), seed=1).restore(str(file))
