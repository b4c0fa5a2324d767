"""Digits in real NNI trials, some trained to the end: expected values, and finalists at the end."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import hardware
from evaluators import load_task, trace
from evaluators.cache import cache_dir
from nni_plugin.results.experiment import Experiment
from nni_plugin.results.finalists import finalists
from nni_plugin.search_space import for_network
from support.joint_ga import calls
from support.joint_ga_run import JOINT_GA

pytestmark = [pytest.mark.nni, pytest.mark.slow]

TRIALS, EPOCHS = 15, 3
FINAL = {"epochs": EPOCHS, "trials": 4, "count": 1, "seeds": 2}


def configure(nni: Any) -> None:
    """Writes the experiment's files into its folder."""
    network = trace(load_task("evaluators.tasks.digits:build"))
    network.save(nni.folder / "digits.network.json")
    space = for_network(network, hardware.load_device("stm32f746"))
    (nni.folder / "space.json").write_text(json.dumps(space))
    nni.environment["JOINT_GA_CACHE"] = str(cache_dir())
    settings = nni.config(
        trialConcurrency=2,
        maxTrialNumber=TRIALS,
        searchSpaceFile="space.json",
        experimentWorkingDirectory="experiments",
        trainingService={"platform": "local"},
    )
    del settings["searchSpace"]
    settings["trialCommand"] = (
        "python -m nni_plugin.trial --task evaluators.tasks.digits:build --device stm32f746 "
        "--epochs 1 --network digits.network.json"
    )
    settings["tuner"]["classArgs"] = {
        "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
        "costs": {"network": "digits.network.json", "device": "stm32f746"},
        "final": FINAL,
    }
    (nni.folder / "config.yml").write_text(yaml.safe_dump(settings))


def test_an_experiment_ends_with_its_finalists(
    nni: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(nni)
    # It waits for a manager that a busy machine starts late, which plain `nnictl` does not.
    command = [*JOINT_GA, "run", "config.yml", "--no-check", "-o", "report"]
    done = subprocess.run(
        command, cwd=nni.folder, env=nni.environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (nni.id,) = re.findall(r"Experiment (\w+) is running", done.stdout)
    events = nni.journal()
    trained = {e["uid"]: e for e in events if e["event"] == "final"}
    told = {e["uid"]: e["metrics"] for e in events if e["event"] == "tell"}
    assert len(told) == TRIALS
    assert len(trained) == 6
    assert all(uid < 0 and e["epochs"] == EPOCHS for uid, e in trained.items())
    tested = [uid for uid, metrics in told.items() if "test_accuracy" in metrics]
    assert sorted(tested) == sorted(u for u, e in trained.items() if e["finalist"])
    assert events[-1]["reason"] == "budget"
    assert "Finalists: 1 trained" in done.stdout
    assert "expected_accuracy" in done.stdout

    monkeypatch.chdir(nni.folder)
    monkeypatch.setenv("JOINT_GA_CACHE", str(cache_dir()))
    experiment = Experiment(nni.folder / "experiments" / nni.id)
    assert len(experiment.log.finished("complete")) == TRIALS - 6
    assert all(trial.forecast is not None for trial in experiment.log.finished("complete"))
    (last,) = finalists(experiment.log)
    named = (nni.id, "--dir", str(nni.folder / "experiments"))
    header = Path("report/trials.csv").read_text().splitlines()[0].split(",")
    assert {"accuracy", "expected_accuracy", "expected_accuracy_low", "test_accuracy"} <= {*header}
    assert "test_accuracy" in Path("report/report.html").read_text(encoding="utf-8")

    with contextmanager(calls)(monkeypatch, capsys) as joint_ga:
        exported = joint_ga("export", *named, "--knee", "-o", "out")
    assert exported.returncode == 0, exported
    assert f"(uid {last.trial.uid})" in exported.stdout
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert (metrics["epochs"], metrics["seed"]) == (EPOCHS, last.median.run.seed)
    # The same training. In the form that a device stores, an image or two of the 360 may turn.
    told = last.median.metrics
    assert metrics["val"]["trained_accuracy"] == told["accuracy"]
    assert metrics["test"]["trained_accuracy"] == pytest.approx(told["test_accuracy"])
    assert metrics["test"]["accuracy"] == pytest.approx(told["test_accuracy"], abs=3.5 / 360)
