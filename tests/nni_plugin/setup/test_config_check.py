from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import hardware
from nni_plugin import registration
from nni_plugin.search_space import for_network
from nni_plugin.setup.config_check import check_config, examine_config
from nni_plugin.setup.outdated_settings import outdated_settings
from nni_plugin.setup.task_check import TaskOptions
from support.paths import REPOSITORY

TRIAL = "--task t:build --device stm32f746"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole experiment's files, right in every point."""
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "nni"))
    layers = (
        hardware.Layer("conv", "conv", ("input",), (1, 8, 8), (8, 6, 6), kernel=(3, 3)),
        hardware.Layer("relu", "activation", ("conv",), (8, 6, 6), (8, 6, 6)),
        hardware.Layer("pool", "global_pool", ("relu",), (8, 6, 6), (8, 1, 1)),
        hardware.Layer("flat", "reshape", ("pool",), (8, 1, 1), (8,)),
        hardware.Layer("head", "linear", ("flat",), (8,), (4,)),
    )
    groups = (
        hardware.ChannelGroup("conv", ("conv",), 8),
        hardware.ChannelGroup("head", ("head",), 4, prunable=False, reason="the network's output"),
    )
    network = hardware.Network(layers, groups, metadata={"metric_name": "accuracy"})
    network.save(tmp_path / "net.json")
    space = for_network(network, hardware.load_device("stm32f746"))
    (tmp_path / "space.json").write_text(json.dumps(space))
    write(tmp_path)
    return tmp_path


def write(folder: Path, class_args: Any = None, tuner: Any = None, **changes: Any) -> Path:
    config = {
        "searchSpaceFile": "space.json",
        "trialCommand": "python3 -m nni_plugin.trial --task t:build --device stm32f746",
        "trialCodeDirectory": ".",
        "trialConcurrency": 2,
        "maxTrialNumber": 20,
        "tuner": tuner
        or {
            "className": "nni_plugin.JointGATuner",
            "codeDirectory": ".",
            "classArgs": {
                "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
                "costs": {"network": "net.json", "device": "stm32f746"},
                **(class_args or {}),
            },
        },
        "trainingService": {"platform": "local"},
    }
    config = {name: value for name, value in {**config, **changes}.items() if value is not None}
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    return folder / "config.yml"


def test_a_right_config_has_no_problems(folder: Path) -> None:
    assert check_config(folder / "config.yml") == []


@pytest.mark.parametrize(
    ("class_args", "words"),
    [
        ({"objectives": {"acuracy": "maximize"}}, ["acuracy", "accuracy"]),
        ({"objectives": {"accuracy": "up"}}, ["accuracy", "'up'"]),
        ({"populaton_size": 3}, ["populaton_size", "population_size"]),
        ({"constraints": {"size_kb": "little"}}, ["size_kb", "little"]),
        ({"constraints": {"size_kb": "<= 0.001"}}, ["size_kb", "0.001"]),
        ({"constraints": {"weight": "<= 1"}}, ["weight"]),
        ({"costs": {"network": "gone.json", "device": "stm32f746"}}, ["gone.json"]),
        ({"costs": {"network": "net.json", "device": "abacus"}}, ["abacus"]),
        ({"costs": {"network": "net.json", "device": "stm32l4r5"}}, ["stm32l4r5", "stm32f746"]),
        ({"initial": "gone.json"}, ["initial", "gone.json"]),
    ],
)
def test_wrong_class_args(folder: Path, class_args: dict[str, Any], words: list[str]) -> None:
    problems = check_config(write(folder, class_args))
    assert problems
    for word in words:
        assert any(word in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"searchSpaceFile": "gone.json"}, ["searchSpaceFile", "gone.json"]),
        ({"searchSpaceFile": None}, ["searchSpace"]),
        ({"trialCommand": None}, ["trialCommand"]),
        ({"trialCommand": "python3 -m nni_plugin.trial --device x"}, ["--task"]),
        (
            {"trialCommand": "python3 -m nni_plugin.trial --task t:b --device stm32f746 --ep 3 4"},
            ["4"],
        ),
        ({"trialCodeDirectory": "gone"}, ["trialCodeDirectory", "gone"]),
        ({"trialConcurrency": 0}, ["NNI"]),
        ({"tuner": {"name": "JointGA"}}, ["JointGA", "joint-ga register"]),
        ({"tuner": {"className": "nni_plugin.JointGATuner"}}, ["codeDirectory"]),
        ({"tuner": {"className": "no_such.Tuner", "codeDirectory": "."}}, ["no_such"]),
    ],
)
def test_wrong_settings(folder: Path, changes: dict[str, Any], words: list[str]) -> None:
    problems = check_config(write(folder, **changes))
    assert problems
    for word in words:
        assert any(word in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("gene", "words"),
    [
        ({"conv.w_bits": {"_type": "choice", "_value": [2, 77]}}, ["77"]),
        ({"conv.prune": {"_type": "choice", "_value": [0.0, 1.0]}}, ["conv.prune"]),
        ({"conv.prune": {"_type": "choice", "_value": [-0.5, 0.0]}}, ["conv.prune"]),
        ({"conv.prune": {"_type": "uniform", "_value": [0.0, 1.5]}}, ["conv.prune=1.5"]),
        ({"conv.w_bits": {"_type": "randint", "_value": [2, 9]}}, ["weight_bits=3"]),
        ({"stem.prune": {"_type": "choice", "_value": [0.0, 0.5]}}, ["stem.prune"]),
        ({"conv.prune": {"_type": "chioce", "_value": [0.0, 0.5]}}, ["chioce"]),
        ({"conv/prune": {"_type": "choice", "_value": [0.0, 0.5]}}, ["conv/prune"]),
    ],
)
def test_a_space_that_network_or_device_cannot_take(
    folder: Path, gene: dict[str, Any], words: list[str]
) -> None:
    space = json.loads((folder / "space.json").read_text())
    (folder / "space.json").write_text(json.dumps({**space, **gene}))
    problems = check_config(folder / "config.yml")
    assert problems
    for word in words:
        assert any(word in problem for problem in problems), problems


def test_data_behind_a_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "python3 -m nni_plugin.trial --task t:build --device stm32f746 --data '$MY_DATA/x'"
    monkeypatch.delenv("MY_DATA", raising=False)
    (problem,) = check_config(write(folder, trialCommand=command))
    assert "MY_DATA is not set" in problem
    monkeypatch.setenv("MY_DATA", str(folder))
    assert check_config(write(folder, trialCommand=command)) == []


def test_files_that_are_no_config(tmp_path: Path) -> None:
    assert "no such file" in check_config(tmp_path / "gone.yml")[0]
    (tmp_path / "bad.yml").write_text("a: [1,")
    assert "YAML" in check_config(tmp_path / "bad.yml")[0]
    (tmp_path / "list.yml").write_text("- 1")
    assert "list" in check_config(tmp_path / "list.yml")[0]


def test_the_task_is_imported_when_asked(folder: Path) -> None:
    assert check_config(folder / "config.yml") == []
    (problem,) = check_config(folder / "config.yml", import_task=True)
    assert "'t'" in problem


def test_a_supernet_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command says of it at once; file, genes and task in the process of the task."""
    monkeypatch.setenv("JOINT_GA_CACHE", str(folder / "cache"))

    def command(words: str, task: str = "t:build") -> str:
        return f"python3 -m nni_plugin.trial --task {task} --device stm32f746 {words}"

    for words, text in (
        ("--supernet-epochs 3", "--supernet-epochs 3 is of the training"),
        ("--train-supernet spac.json", r"--train-supernet spac.json: no such file"),
        ("--train-supernet config.yml", "config.yml: not JSON"),
    ):
        (problem,) = check_config(write(folder, trialCommand=command(words)))
        assert problem.startswith("trialCommand: ")
        assert text in problem.replace(f"{folder}/", "")
    assert check_config(write(folder, trialCommand=command("--train-supernet space.json"))) == []

    space = REPOSITORY / "experiment_configs" / "digits.space.json"
    costs = {"network": str(space.with_suffix(".network.json")), "device": "stm32f746"}
    (folder / "super.pt").write_bytes(b"cut off")
    words = command("--supernet super.pt", "evaluators.tasks.digits:build")
    config = write(folder, {"costs": costs}, trialCommand=words, searchSpaceFile=str(space))
    (problem,) = examine_config(config, TaskOptions()).problems
    assert problem.startswith("trialCommand: --supernet: ")
    assert "was cut off" in problem


OWN_ASSESSOR = {"className": "nni_plugin.ParetoAssessor", "codeDirectory": "."}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"assessor": {**OWN_ASSESSOR, "classArgs": {"policy": "gain", "risk": 0.1}}},
            "'gain' runs",
        ),
        (
            {"trialCommand": f"python3 -m nni_plugin.trial {TRIAL} --early-end 0.3"},
            "--early-end is ignored",
        ),
        ({"trialCommand": f"python3 -m nni_plugin.trial {TRIAL} --early-end=2"}, "--early-end"),
    ],
)
def test_what_went_is_no_problem_but_is_told(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    config = write(folder, **changes)
    assert check_config(config) == []
    (note,) = outdated_settings(config)
    assert words in note


@pytest.mark.parametrize("policy", ["promise", "halving", "reservation_value"])
def test_no_note_on_what_is_in_use(folder: Path, policy: str) -> None:
    config = write(folder, assessor={**OWN_ASSESSOR, "classArgs": {"policy": policy}})
    assert check_config(config) == []
    assert outdated_settings(config) == []


def test_registration_is_repeatable_and_reversible(folder: Path) -> None:
    assert not registration.is_registered()
    registration.register()
    registration.register()
    assert registration.is_registered("jointga")
    assert registration.is_registered("joint-ga")
    tuner = {"name": "JointGA", "classArgs": {"objectives": {"accuracy": "maximize"}}}
    assert check_config(write(folder, tuner=tuner)) == []
    assert "JointGA" in registration.unregister()
    assert registration.unregister() == []
    assert not registration.is_registered()
    assert registration.registered_class("TPE") is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trialCodeDirectory": 5}, "trialCodeDirectory: 5 should be a text"),
        ({"searchSpaceFile": ["space.json"]}, "searchSpaceFile: ['space.json'] should be a text"),
        ({"trialCommand": {"a": 1}}, "trialCommand: {'a': 1} should be a text"),
        ({"trialCommand": "python3 'x"}, 'trialCommand: "python3 \'x": No closing quotation'),
        (
            {"tuner": {"className": 3, "codeDirectory": "."}},
            "tuner: className: 3 should be a text",
        ),
        (
            {"tuner": {"className": "a.B", "codeDirectory": 7}},
            "tuner: codeDirectory: 7 should be a text",
        ),
        (
            {"tuner": {"name": "JointGA", "classArgs": [1]}},
            "tuner: classArgs: [1] should be a mapping of names to values",
        ),
        ({"trainingService": {"platform": "local", "trialCommand": 3}}, "trialCommand: 3 should"),
        ({"trialCodeDirectory": "x" * 5000}, "trialCodeDirectory: "),
    ],
)
def test_settings_of_a_wrong_type(folder: Path, changes: dict[str, Any], message: str) -> None:
    problems = check_config(write(folder, **changes))
    assert any(message in problem for problem in problems), problems


def test_what_was_meant_is_named(folder: Path) -> None:
    write(folder)
    (config,) = folder.glob("*.yml")
    (problem,) = check_config(config.with_name(config.name[1:]))
    assert "no such file" in problem
    assert f"did you mean {config.name!r}" in problem
    (problem,) = check_config(folder)
    assert "a folder, not an experiment's YAML file" in problem
    assert config.name in problem
    problems = check_config(write(folder, {"constraints": {"ram": "<= 64"}}))
    assert any("'ram' (did you mean 'ram_kb'?)" in problem for problem in problems), problems
    config.write_text("a: !!timestamp nonsense")
    assert "not readable as YAML" in check_config(config)[0]
