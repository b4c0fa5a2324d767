"""A config in NNI's first format is told as such, with the names of today."""

from __future__ import annotations

from pathlib import Path

from nni_plugin.setup.config_check import check_config

OLD = """authorName: someone
experimentName: mnist
trialConcurrency: 1
maxExecDuration: 1h
maxTrialNum: 10
trainingServicePlatform: local
searchSpacePath: space.json
useAnnotation: false
tuner:
  codeDir: .
  classFileName: nni_plugin.py
  className: JointGATuner
  classArgs: {optimize_mode: maximize}
trial: {command: python3 main.py, codeDir: ., gpuNum: 0}
"""


def test_the_first_format_is_named_with_each_new_name(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(OLD)
    (problem,) = check_config(tmp_path / "config.yml")
    assert "NNI's first config format" in problem
    for change in (
        "searchSpacePath -> searchSpaceFile",
        "maxTrialNum -> maxTrialNumber",
        "maxExecDuration -> maxExperimentDuration",
        "trial -> trialCommand",
        "useAnnotation: leave it out",
    ):
        assert change in problem


def test_the_second_format_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text('{"lr": {"_type": "uniform", "_value": [0.01, 0.1]}}')
    (tmp_path / "config.yml").write_text(
        "experimentName: mnist\nsearchSpaceFile: space.json\ntrialCommand: python3 main.py\n"
        "trialConcurrency: 1\nmaxTrialNumber: 3\ntuner: {className: nni_plugin.JointGATuner}\n"
        "trainingService: {platform: local}\n"
    )
    assert not any(
        "first config format" in problem for problem in check_config(tmp_path / "config.yml")
    )
