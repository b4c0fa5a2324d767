"""`joint-ga supernet`, and trials and exports that start from its file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_plugin.cli.app import app
from nni_plugin.study.study import Study
from nni_plugin.study.tuner_args import TunerArgs
from support.paths import REPOSITORY
from support.tasks import TINY_TASK

NAMES = ("--task", "supernet_task:build", "--device", "stm32f746")
SPACE = ("--space", "space.json")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task, its search space and a chromosome, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "supernet_task", raising=False)
    (tmp_path / "supernet_task.py").write_text(TINY_TASK)
    run("space", *NAMES, "-o", "space.json")
    (tmp_path / "params.json").write_text(json.dumps({"0.prune": 0.5, "0.w_bits": 4, "uid": 3}))
    return tmp_path


def run(*arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert (done.exit_code != 0) == fails, (done.output, done.exception)
    return f"{done.output}{done.exception or ''}"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def test_from_the_command_to_the_export(folder: Path) -> None:
    said = run("supernet", *NAMES, *SPACE, "-o", "super.pt", "--epochs", "3")
    lines = said.splitlines()
    assert lines[0].startswith("supernet: epoch 1 of 3, loss ")
    assert lines[1].startswith("supernet: epoch 3 of 3, loss ")
    assert "super.pt: 4 tensors, 4 learned scales" in lines[2]
    before = (folder / "super.pt").read_bytes()
    assert "is there already" in run("supernet", *NAMES, *SPACE, "-o", "super.pt", "--epochs", "3")
    assert "epochs=3, not 4" in run(
        "supernet", *NAMES, *SPACE, "-o", "super.pt", "--epochs", "4", fails=True
    )
    run("supernet", *NAMES, *SPACE, "-o", "again.pt", "--epochs", "3")
    assert (folder / "again.pt").read_bytes() == before

    start = ("--supernet", "super.pt", "--network", "space.network.json")
    run("export", *NAMES, "--params", "params.json", *start, "--epochs", "0", "-o", "out")
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert metrics["val"]["inherited_accuracy"] == metrics["val"]["accuracy"]
    assert "--supernet super.pt" in metrics["command"]


def test_seeds_that_a_search_begins_with(folder: Path) -> None:
    run("supernet", *NAMES, *SPACE, "-o", "super.pt", "--epochs", "3")
    told = run(
        "supernet-seeds", "super.pt", *NAMES, "-o", "seeds.json", "--points", "3", "--epochs", "1"
    )
    points = json.loads((folder / "seeds.json").read_text())
    assert f"seeds.json: {len(points)} different networks" in told
    space = json.loads((folder / "space.json").read_text())
    assert all(list(point) == list(space) for point in points)
    args = {"strategy": "gradient", "initial": "seeds.json", "seed": 3}
    study = Study(TunerArgs.parse(args, [folder]), space, folder / "journal.jsonl", args)
    asked = [study.ask() for _ in range(len(points) + 2)]
    study.close()
    assert [trial.params for trial in asked[: len(points)]] == points
    assert [trial.origin for trial in asked[len(points) :]] == ["neighbour", "neighbour"]


def test_bits_that_the_device_does_not_run(folder: Path) -> None:
    space = json.loads((folder / "space.json").read_text())
    space["0.w_bits"]["_value"] = [3, 8]
    (folder / "space.json").write_text(json.dumps(space))
    said = run("supernet", *NAMES, *SPACE, "--epochs", "1", fails=True)
    assert "gene '0.w_bits' has 3 bits, which device 'stm32f746' does not run" in said
    (folder / "space.json").write_text(json.dumps({"x": {"_type": "uniform", "_value": [0, 1]}}))
    assert "gene 'x' is no choice" in run("supernet", *NAMES, *SPACE, fails=True)


def test_the_first_trial_trains_it_and_the_others_wait(folder: Path) -> None:
    words = ["nni_plugin.trial", *NAMES, "--params", "params.json", "--epochs", "1"]
    shared = [*words, "--supernet", "super.pt", "--train-supernet", "space.json"]
    trials = [
        subprocess.Popen(
            command(*shared), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    done = [trial.communicate(timeout=120) for trial in trials]
    assert [trial.returncode for trial in trials] == [0, 0], done
    assert sum("supernet: epoch 60 of 60" in out for out, _ in done) == 1
    assert sum("is there already" in out for out, _ in done) == 1
    finals = [json.loads(out.splitlines()[-1]) for out, _ in done]
    assert finals[0] == finals[1]
    assert finals[0]["uid"] == 3
    reports = [json.loads(line) for line in done[0][0].splitlines() if line.startswith("{")]
    assert reports[0]["accuracy"] == finals[0]["inherited_accuracy"]
    alone = subprocess.run(
        command(*words, "--supernet", "none.pt"), env=environment(), capture_output=True, text=True
    )
    assert alone.returncode == 1
    assert "--supernet none.pt: there is no such file" in alone.stderr


def test_an_interrupted_training_goes_on(folder: Path) -> None:
    words = ["nni_plugin.cli", "supernet", *NAMES, *SPACE, "-o", "super.pt", "--epochs", "400"]
    training = subprocess.Popen(
        command(*words),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = folder / "super.pt.partial"
    deadline = time.monotonic() + 100
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=60)
    if training.returncode == 0:
        pytest.skip("it was done before it could be stopped")
    assert training.returncode == 130, err
    assert "the same command goes on from super.pt.partial" in out
    assert "going on after epoch" in run(*words[1:])
    assert not partial.exists()
