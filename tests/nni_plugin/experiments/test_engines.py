"""The same search in the real NNI, as processes of this machine, and in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nni_plugin.engines.driver import Budget, Driver
from nni_plugin.engines.in_process import InProcessEngine
from nni_plugin.engines.run_config import RunConfig
from nni_plugin.protocol.json_types import Params
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import TrialLog
from support.joint_ga_run import Run

TRIALS = 3


@pytest.mark.slow
@pytest.mark.nni
def test_one_seed_gives_one_search_on_every_engine(run: Callable[..., Run], tmp_path: Path) -> None:
    options = ("-j", "1", "--trials", str(TRIALS), "--no-check")
    in_nni = run(50, *options, folder=tmp_path / "nni", seed=5)
    assert in_nni.process.wait(500) == 0, in_nni.text
    expected = trials(*(tmp_path / "nni").glob("experiments/[!_]*/checkpoint/journal.jsonl"))
    assert len(expected) == TRIALS

    local = run(50, *options, "--engine", "local", "--warm", folder=tmp_path / "local", seed=5)
    assert local.process.wait(500) == 0, local.text
    found = trials(*(tmp_path / "local").glob("experiments/[!_]*/checkpoint/journal.jsonl"))
    assert found == expected

    config = RunConfig.of(json.loads((tmp_path / "local" / "config.yml").read_text()) | PATHS)
    space = json.loads((tmp_path / "local" / "space.json").read_text())
    study = Study(config.tuner_args(), space, tmp_path / "journal.jsonl")
    Driver(study, InProcessEngine(metrics), tmp_path, budget=Budget(TRIALS)).run()
    study.close()
    assert trials(tmp_path / "journal.jsonl") == expected


PATHS = {
    "searchSpaceFile": None,
    "searchSpace": {},
    "trialCodeDirectory": "/",
    "experimentWorkingDirectory": "/",
}


def metrics(params: Params) -> dict[str, float]:
    """What ``TRIAL`` of ``support.joint_ga_run`` reports."""
    x, y = float(str(params["conv.prune"])), int(str(params["conv.w_bits"]))
    accuracy = round(0.9 - x / 4 + y / 100, 4)
    return {
        "default": accuracy,
        "accuracy": accuracy,
        "size_kb": round((1 - x) * y * 5 + 1, 3),
        "latency_ms": round(10 - 8 * x, 3),
        "baseline_accuracy": 0.99,
    }


def trials(journal: Path) -> list[tuple[int, Params, dict[str, float]]]:
    finished = TrialLog.read(journal).finished("complete")
    return [(trial.uid, trial.params, trial.metrics) for trial in finished]
