"""Real experiments: ``nnictl``, the manager, trials as processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.nni

GRID = {
    "x": {"_type": "choice", "_value": [0, 1, 2, 3]},
    "y": {"_type": "choice", "_value": [0, 1, 2, 3]},
}


def test_pairs_are_right_side_by_side_and_an_exhausted_space_ends(nni: Any, tmp_path: Path) -> None:
    space = {
        "x": {"_type": "choice", "_value": [0, 1, 2]},
        "y": {"_type": "choice", "_value": [0, 1, 2]},
        "wait": {"_type": "choice", "_value": [0.05]},
    }
    # Trials of unequal length that ask for their parameters in another order than they start.
    body = "time.sleep((params['uid'] * 7 % 5) * 0.2)"
    nni.create(nni.config(body, searchSpace=space, trialConcurrency=4))
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    pairs = nni.succeeded()
    assert len(pairs) == 9
    assert nni.wrong_pairs() == []
    assert {(p["x"], p["y"]) for p, _ in pairs} == {(x, y) for x in range(3) for y in range(3)}
    told = {e["uid"]: e["metrics"] for e in nni.journal() if e["event"] == "tell"}
    assert {m["uid"]: (m["x"], m["y"]) for _, m in pairs} == {
        uid: (metrics["x"], metrics["y"]) for uid, metrics in told.items()
    }
    assert [e["reason"] for e in nni.journal() if e["event"] == "end"] == ["exhausted"]
    # Started with plain nnictl, which makes it for everybody to read.
    assert nni.home.stat().st_mode & 0o777 == 0o700


def test_crashing_silent_and_nan_trials_fail_alone(nni: Any, tmp_path: Path) -> None:
    body = (
        "kind = params['uid'] % 4\n"
        "if kind == 1: sys.exit(3)\n"
        "bad = {**params, 'default': float('nan'), 'size': 1}\n"
        "if kind == 2: nni.report_final_result(bad); sys.exit(0)"
    )
    nni.create(nni.config(body, trialConcurrency=3, maxTrialNumber=7))
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    assert nni.wrong_pairs() == []
    nni.wait_for(lambda: sum(e["event"] == "fail" for e in nni.journal()) >= 4)
    failed = {e["uid"]: e["reason"] for e in nni.journal() if e["event"] == "fail"}
    assert sorted(failed) == [1, 2, 5, 6]
    assert "nan" in failed[2]
    told = {e["uid"] for e in nni.journal() if e["event"] == "tell"}
    assert told == {3, 4, 7}


def test_an_error_in_the_tuner_ends_the_experiment_with_its_message(
    nni: Any, tmp_path: Path
) -> None:
    tuner = {
        "className": "nni_plugin.JointGATuner",
        "codeDirectory": str(nni.repository),
        "classArgs": {"objectives": {"default": "maximize", "weight": "minimize"}},
    }
    nni.create(nni.config(tuner=tuner, trialConcurrency=2, maxTrialNumber=12))
    assert nni.wait("DONE", "ERROR", seconds=240) == "ERROR"
    assert nni.rest("/check-status")["errors"]
    # What the UI's log panel shows.
    assert "no trial reports the metric 'weight'" in nni.log()
    assert "default, size, x, y" in nni.log()
    manager_log = (nni.home / "log" / "nnimanager.log").read_text()
    assert "no trial reports the metric 'weight'" in manager_log


def test_a_broken_trial_ends_the_experiment_before_its_budget(nni: Any, tmp_path: Path) -> None:
    nni.create(nni.config("sys.exit(3)", trialConcurrency=4, maxTrialNumber=200))
    assert nni.wait("DONE", "ERROR", seconds=240) == "ERROR"
    assert "trials all failed" in nni.log()
    assert sum(event["event"] == "ask" for event in nni.journal()) < 50


def test_wrong_class_args_and_spaces_end_the_experiment(nni: Any, tmp_path: Path) -> None:
    nni.create(nni.config(searchSpace={"x": {"_type": "choice", "_value": [1]}}))
    assert nni.wait("DONE", "ERROR", seconds=240) == "ERROR"
    assert "no usable gene" in nni.log()


def test_by_name_after_registration_with_files_beside_the_config(nni: Any, tmp_path: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", "from nni_plugin.registration import register; print(register())"],
        env=nni.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "JointGA" in done.stdout
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    (beside / "space.json").write_text(json.dumps(GRID))
    (beside / "prices.py").write_text("def price(p):\n    return {'size': 2 * p['x'] - p['y']}\n")
    settings = nni.config(trialConcurrency=2, maxTrialNumber=4)
    del settings["searchSpace"]
    settings |= {
        "searchSpaceFile": "space.json",
        "trialCodeDirectory": "..",
        "experimentWorkingDirectory": "../experiments",
        "trainingService": {"platform": "local"},
        "tuner": {
            "name": "JointGA",
            "classArgs": {
                "objectives": {"default": "maximize", "size": "minimize"},
                "constraints": {"size": "<= 2"},
                "costs": "prices:price",
            },
        },
    }
    (beside / "config.yml").write_text(yaml.safe_dump(settings))
    nni.create_file(beside / "config.yml")
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    asked = [e for e in nni.journal() if e["event"] == "ask"]
    assert asked
    assert all(e["costs"]["size"] <= 2 for e in asked), "no candidate breaks a known limit"


def test_any_space_example_runs(nni: Any) -> None:
    example = nni.repository / "experiment_configs" / "ga_any_space.yml"
    settings = yaml.safe_load(example.read_text())
    settings |= {
        "maxTrialNumber": 4,
        "experimentWorkingDirectory": str(nni.folder / "experiments"),
        "trialCodeDirectory": str(example.parent),
        "tuner": {**settings["tuner"], "codeDirectory": str(nni.repository)},
    }
    nni.create(settings)
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    pairs = nni.succeeded()
    assert len(pairs) == 4
    for params, metrics in pairs:
        assert params["uid"] == metrics["uid"]
        assert {"default", "milliseconds"} <= metrics.keys()
        assert params["model"]["_name"] in ("forest", "svm", "neighbours")
