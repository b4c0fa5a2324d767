"""Configs on an engine without NNI: the same file, and what only NNI has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.engines.run_config import RunConfig
from support.engine_runs import settings
from support.paths import REPOSITORY


@pytest.mark.parametrize("name", ["ga_joint.yml", "ga_any_space.yml", "ga_joint_kws.yml"])
def test_the_shipped_configs_are_read(name: str) -> None:
    folder = REPOSITORY / "experiment_configs"
    config = RunConfig.load(folder / name)
    assert config.code == folder
    assert config.concurrency == 2
    assert config.budget.trials
    assert config.home == Path.home() / "nni-experiments"
    assert config.tuner_args().objectives
    assert config.settings["tuner"]["codeDirectory"].startswith("/")
    assert RunConfig.of(json.loads(json.dumps(config.settings))) == config


def test_numbers_of_the_command_line_go_before_those_of_the_file(tmp_path: Path) -> None:
    config = RunConfig.of(settings(tmp_path, maxTrialNumber=9))
    changed = config.with_numbers(5, 3)
    assert (changed.budget.trials, changed.concurrency) == (5, 3)
    assert RunConfig.of(changed.settings) == changed
    assert config.with_numbers(None, None) == config


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trainingService": {"platform": "remote"}}, "'remote' is NNI's.*--engine ray"),
        ({"tuner": {"name": "TPE"}}, "'TPE' needs --engine nni"),
        ({"tuner": None}, "tuner: missing"),
        ({"assessor": {"name": "Medianstop"}}, "'Medianstop' needs --engine nni"),
        ({"trialCommand": " "}, "trialCommand: missing"),
        ({"trialConcurrency": 0}, "trialConcurrency=0 should be"),
        ({"maxTrialNumber": "many"}, "maxTrialNumber='many' should be"),
        ({"searchSpaceFile": "/x.json"}, "one of searchSpace and searchSpaceFile"),
        ({"searchSpace": [1]}, "not a mapping of genes"),
        ({"sharedStorage": {"x": 1}}, "sharedStorage=.* needs --engine nni"),
    ],
)
def test_what_an_engine_does_not_have_is_refused(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        RunConfig.of({**settings(tmp_path), **wrong})
