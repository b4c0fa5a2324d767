"""`joint-ga supernet`, and trials and exports that start from its file."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_plugin import trial
from nni_plugin.cli.app import app
from nni_plugin.engines.engine import Ended, Final, Job, Note
from nni_plugin.engines.server_engine import ServerEngine
from nni_plugin.engines.trial_files import stdout_of
from nni_plugin.engines.trial_server import ServerSettings
from nni_plugin.protocol.final_run import FinalRun
from nni_plugin.protocol.json_types import Params
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


def test_the_first_trial_trains_it_and_the_others_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Forked from one process, with the network and the metrics of a process of their own."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    # Torch in a forked process would wait for ever for threads that only its parent has.
    alone = "metric=lambda out, target: 1 / (torch.get_num_threads() == 1) * "
    text = TINY_TASK.replace("metric=lambda out, target: ", alone)
    (folder / "supernet_task.py").write_text(text)
    epochs = ("--supernet-epochs", "3")
    words = ["nni_plugin.trial", *NAMES, "--epochs", "1", "--supernet"]
    shared = [*words, "super.pt", "--train-supernet", "space.json", *epochs]
    params = json.loads((folder / "params.json").read_text())
    to_the_end = {**params, **FinalRun(epochs=1, seed=0, test=True).as_params()}
    finals, outputs = forked(folder, shared, [params, to_the_end])
    assert sum("supernet: epoch 3 of 3" in out for out in outputs) == 1
    assert sum("is there already" in out for out in outputs) == 1
    assert not any("import " in out for out in outputs), "a fresh process tells of its imports"
    fresh = subprocess.run(
        command(*shared, "--params", "params.json"),
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    reports = [json.loads(line) for line in fresh.stdout.splitlines() if line.startswith("{")]
    assert finals[0] == reports[-1]
    assert finals[0]["uid"] == 3
    assert reports[0]["accuracy"] == finals[0]["inherited_accuracy"]
    assert finals[1].items() >= {**finals[0], "test_accuracy": finals[0]["accuracy"]}.items()
    run("supernet", *NAMES, *SPACE, "-o", "again.pt", "--epochs", "3")
    assert (folder / "again.pt").read_bytes() == (folder / "super.pt").read_bytes()
    assert trial.main([*NAMES, "--params", "params.json", "--supernet", "none.pt"]) == 1
    assert "--supernet none.pt: there is no such file" in capfd.readouterr().err


def test_a_run_trains_it_before_its_first_trial(folder: Path) -> None:
    words = ["nni_plugin.trial", *NAMES, "--epochs", "0", "--train-supernet", "space.json"]
    class_args = {"objectives": {"accuracy": "maximize", "size_kb": "minimize"}}
    config = {
        "searchSpaceFile": "space.json",
        "trialCommand": shlex.join(["python3", "-m", *words, "--supernet-epochs", "3"]),
        "trialConcurrency": 1,
        "maxTrialNumber": 1,
        "experimentWorkingDirectory": "experiments",
        "tuner": {
            "className": "nni_plugin.JointGATuner", "codeDirectory": ".", "classArgs": class_args,
        },
        "trainingService": {"platform": "local"},
    }  # fmt: skip
    (folder / "config.yml").write_text(json.dumps(config))
    done = subprocess.run(
        command("nni_plugin.cli", "run", "config.yml", "--engine", "local", "--no-warm"),
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "note: trialCommand: --supernet: a supernet is trained first, for 3 epochs" in done.stderr
    )
    before, _, _ = done.stdout.partition("0/1 complete")
    assert "supernet: epoch 3 of 3" in before
    (trial_folder,) = folder.glob("experiments/*/environments/*/trials/*")
    assert "is there already" in stdout_of(trial_folder).read_text()


def forked(
    folder: Path, words: Sequence[str], chromosomes: Sequence[Params]
) -> tuple[list[dict[str, float]], list[str]]:
    """Final metrics and outputs of trials that run at once, forked from one prepared process."""
    trials = folder / "trials"
    settings = ServerSettings("forked", str(trials), shlex.join(command(*words)), str(folder))
    module = "nni_plugin.engines.trial_server"
    engine = ServerEngine("local", module, asdict(settings), trials, folder / "engine.log")
    finals: dict[str, dict[str, float]] = {}
    with contextlib.closing(engine):
        jobs = [Job(f"t{n}", n, params) for n, params in enumerate(chromosomes)]
        for job in jobs:
            engine.start(job)
        running = {job.id for job in jobs}
        while running:
            for event in engine.events(120.0):
                assert not isinstance(event, Note), event
                if isinstance(event, Final):
                    finals[event.job] = event.value  # type: ignore[assignment]  # a trial's metrics
                elif isinstance(event, Ended):
                    assert event.reason is None, event
                    running.remove(event.job)
    outputs = [stdout_of(trials / job.id).read_text() for job in jobs]
    return [finals[job.id] for job in jobs], outputs


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
