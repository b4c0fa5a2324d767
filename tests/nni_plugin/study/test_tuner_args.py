from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.protocol.dispatcher import experiment_config, find_file, folders
from nni_plugin.study.study import Study
from nni_plugin.study.tuner_args import TunerArgs


def test_without_objectives_default_is_optimized() -> None:
    assert TunerArgs.parse({}).objectives == {"default": "maximize"}
    assert TunerArgs.parse({"optimize_mode": "minimize"}).objectives == {"default": "minimize"}


def test_required_metrics_are_those_of_objectives_and_constraints() -> None:
    args = TunerArgs.parse(
        {
            "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
            "constraints": {"ram_kb": "<= 256", "accuracy": ">= 0.8"},
        }
    )
    assert args.required == ["accuracy", "size_kb", "ram_kb"]


@pytest.mark.parametrize("strategy", ["ga", "knapsack", "gradient", "reinforce", "de"])
def test_a_strategy_needs_nothing_before_the_search_starts(strategy: str) -> None:
    """What it needs (costs, sensitivities, points) is looked at with the real space."""
    assert TunerArgs.parse({"strategy": strategy}).options == {"strategy": strategy}


@pytest.mark.parametrize(
    ("class_args", "error", "words"),
    [
        ({"objective": {}}, TypeError, ["objective", "allowed", "objectives"]),
        ({"objectives": {}}, ValueError, ["objectives"]),
        ({"objectives": {"accuracy": "max"}}, ValueError, ["accuracy", "'max'", "maximize"]),
        ({"objectives": ["accuracy"]}, ValueError, ["objectives", "accuracy"]),
        ({"constraints": {"ram_kb": "under 3"}}, ValueError, ["ram_kb", "under 3"]),
        ({"constraints": {"ram_kb": 3}}, ValueError, ["ram_kb"]),
        ({"optimize_mode": "up"}, ValueError, ["optimize_mode", "'up'", "maximize"]),
        ({"population_size": 0}, ValueError, ["population_size", "0"]),
        ({"population_size": "many"}, ValueError, ["population_size", "many"]),
        ({"toolbox": {"mutation": "a:b"}}, ValueError, ["toolbox", "'mutation'", "mutate"]),
        ({"toolbox": "deap.tools:cxTwoPoint"}, ValueError, ["toolbox", "deap.tools:cxTwoPoint"]),
        ({"toolbox": {"mate": "deap.tools"}}, ValueError, ["mate", "deap.tools", "function'"]),
        ({"toolbox": {"mate": "no_such:f"}}, ValueError, ["mate", "no_such:f", "imported"]),
        ({"toolbox": {"mate": "deap.tools:emo"}}, ValueError, ["mate", "emo", "callable"]),
        ({"strategy": "greedy"}, ValueError, ["strategy", "greedy", "reinforce"]),
        ({"costs": {"network": "n.json"}}, ValueError, ["costs", "device"]),
        ({"costs": {"network": 3, "device": "x"}}, ValueError, ["network", "3"]),
    ],
)
def test_wrong_arguments_are_refused_with_the_value(
    class_args: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as raised:
        TunerArgs.parse(class_args)
    for word in words:
        assert word in str(raised.value)


def test_missing_cost_files_say_where_they_were_looked_for(tmp_path: Path) -> None:
    args = TunerArgs.parse({"costs": {"network": "n.json", "device": "stm32f746"}}, [tmp_path])
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        args.cost_model()


def test_a_cost_function_is_found_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "my_costs_a.py").write_text(
        "def price(params):\n    return {'size': params['x']}\n"
    )
    model = TunerArgs.parse({"costs": "my_costs_a:price"}, [tmp_path]).cost_model()
    assert model is not None
    assert model({"x": 3}) == {"size": 3}
    for wrong in ("my_costs_a:none", "no_such_module:f", "my_costs_a"):
        with pytest.raises(ValueError, match=wrong):
            TunerArgs.parse({"costs": wrong}, [tmp_path]).cost_model()


def test_operators_are_found_beside_the_config_and_tried_on_its_space(tmp_path: Path) -> None:
    (tmp_path / "my_operators_a.py").write_text(
        "def first(individual, to):\n    individual[0] = to\n    return (individual,)\n"
    )

    def study(to: int) -> Study:
        mutate = {"function": "my_operators_a:first", "to": to}
        class_args = {"toolbox": {"mutate": mutate, "mate": "deap.tools:cxTwoPoint"}}
        args = TunerArgs.parse({**class_args, "surrogate": "none"}, [tmp_path])
        space = {name: {"_type": "choice", "_value": [1, 2, 4]} for name in "abc"}
        return Study(args, space, tmp_path / f"{to}.jsonl", class_args)

    optimizer = study(2).optimizer
    child = optimizer.toolbox.child((0, 0, 0), (0, 1, 1), random.Random(0))
    assert optimizer.space.decode(child)["a"] == 4
    with pytest.raises(ValueError, match=r"mutate=.*my_operators_a:first.*allele 3 of 'a'"):
        study(3)


def test_starting_points_come_from_a_list_a_file_or_a_journal(tmp_path: Path) -> None:
    points = [{"x": 1}, {"x": 2}]
    (tmp_path / "points.json").write_text(json.dumps([{**p, "uid": 4} for p in points]))
    lines = [
        {"event": "ask", "uid": 1, "params": {"x": 1}},
        {"event": "ask", "uid": 2, "params": {"x": 5}},
        {"event": "tell", "uid": 1, "metrics": {"default": 1}},
    ]
    (tmp_path / "old.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def read(initial: Any) -> list[dict[str, Any]]:
        return TunerArgs.parse({"initial": initial}, [tmp_path]).starting_points()

    assert read(points) == points
    assert read("points.json") == points
    assert read("old.jsonl") == [{"x": 1}]
    with pytest.raises(ValueError, match="initial"):
        read([1, 2])
    with pytest.raises(FileNotFoundError, match="initial"):
        read("absent.json")


def test_paths_start_from_the_folders_that_nni_passes_on(tmp_path: Path) -> None:
    config = {
        "searchSpaceFile": str(tmp_path / "a" / "space.json"),
        "tuner": {"codeDirectory": str(tmp_path / "b")},
        "trialCodeDirectory": str(tmp_path / "c"),
    }
    encoded = base64.b64encode(json.dumps(config).encode()).decode()
    told = experiment_config(["nni", "--exp_params", encoded])
    assert told == config
    found = folders(told)
    assert found == [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "n.json").touch()
    assert find_file("n.json", found, "network") == tmp_path / "c" / "n.json"
    assert find_file(tmp_path / "c" / "n.json", [], "network") == tmp_path / "c" / "n.json"


def test_outside_nni_paths_start_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folders(experiment_config(["pytest"])) == [tmp_path]
