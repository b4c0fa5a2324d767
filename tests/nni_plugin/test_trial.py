from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.protocol import manager
from nni_plugin.trial import main
from support.paths import REPOSITORY

TASK = """
import torch
from torch import nn
from evaluators import Task
from evaluators.batches import ArrayBatches
import numpy as np

def build():
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    batches = ArrayBatches(torch.from_numpy(x), torch.from_numpy(y), batch_size=32)
    return Task(
        model=model, train=batches, val=batches, test=batches,
        example_input=torch.from_numpy(x[:2]), loss=nn.functional.cross_entropy,
        metric=lambda out, target: float((out.argmax(1) == target).float().mean()),
    )

def wrong():
    return 3
"""


TINY = ("--task", "tiny_task:build", "--device", "stm32f746")


def write(folder: Path, params: Any) -> None:
    (folder / "tiny_task.py").write_text(TASK)
    (folder / "params.json").write_text(json.dumps({"uid": 5} if params is None else params))


def trial(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    write(folder, None)
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "JOINT_GA_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "nni_plugin.trial", "--params", "params.json", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_without_nni_the_last_line_holds_all_metrics(tmp_path: Path) -> None:
    done = trial(tmp_path, "--task", "tiny_task:build", "--device", "stm32f746", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    metrics = json.loads(lines[-1])
    names = ("default", "accuracy", "size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops")
    assert set(names) <= metrics.keys()
    assert metrics["uid"] == 5
    assert metrics["default"] == metrics["accuracy"]
    stages = [json.loads(line) for line in lines[:-1] if line.startswith("{")]
    assert len(stages) >= 3, "an intermediate result after pruning, quantizing, each epoch"
    assert all(stage.keys() == metrics.keys() for stage in stages)
    (seconds,) = [line for line in lines if line.startswith("seconds: ")]
    for stage in ("python", "import", "task", "prune", "quantize", "fine_tune", "evaluate"):
        assert f"{stage} " in seconds
    assert any(line.startswith("start-up: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "params", "words"),
    [
        (("--task", "no_such:build", "--device", "stm32f746"), None, ["no_such"]),
        (("--task", "tiny_task:wrong", "--device", "stm32f746"), None, ["int", "Task"]),
        (("--task", "tiny_task:build", "--device", "abacus"), None, ["abacus", "stm32f746"]),
        (("--task", "tiny_task:build", "--device", "stm32f746"), {"0.prune": 1.0}, ["0.prune"]),
        (("--task", "tiny_task:build", "--device", "stm32f746"), {"9.prune": 0.5}, ["9.prune"]),
        (("--task", "tiny_task:build", "--device", "stm32f746"), {"0.w_bits": 77}, ["77"]),
        (("--task", "tiny_task:build", "--device", "stm32f746"), [1, 2], ["list"]),
        ((*TINY, "--schedule", "slow"), None, ["schedule='slow'", "direct, progressive"]),
    ],
)
def test_a_failing_trial_says_why_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    params: Any,
    words: list[str],
) -> None:
    write(tmp_path, params)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    assert main(["--params", "params.json", *arguments]) == 1
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("trial failed: ")]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in said


def test_a_command_that_asks_for_an_early_end_runs_all_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    options = ("--epochs", "3", "--early-end", "0.3")
    assert main(["--params", "params.json", *TINY, *options]) == 0
    said = capsys.readouterr()
    assert "warning: --early-end 0.3 is ignored" in said.err
    reports = [line for line in said.out.splitlines() if line.startswith("{")]
    assert len(reports) == 6, "pruned, calibrated, after two epochs, at the end, and once more"


def test_a_command_that_asks_for_an_ancestor_is_told_of_the_supernet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    options = ("--epochs", "0", "--inherit", "checkpoints", "--inherit-mb", "8")
    assert main(["--params", "params.json", *TINY, *options]) == 0
    assert "warning: --inherit checkpoints is ignored" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()


def test_outside_an_experiment_it_asks_for_params(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NNI_")}
    command = [sys.executable, "-m", "nni_plugin.trial", "--task", "a:b", "--device", "stm32f746"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--params FILE" in done.stderr


def test_the_package_is_light_until_it_is_used() -> None:
    code = "import sys, nni_plugin; print([m for m in ('torch', 'nni', 'ga') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_tuner_imports_no_torch() -> None:
    code = "import sys, nni_plugin; nni_plugin.JointGATuner; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_where_the_manager_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNI_TUNER_COMMAND_CHANNEL", "ws://localhost:8080/pre/fix/tuner")
    assert manager.dispatcher_url() == "http://localhost:8080/pre/fix"
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL")
    assert manager.dispatcher_url() is None
    monkeypatch.setenv("NNI_PLATFORM", "local")
    monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", "http://localhost:8080/pre/env/local/t1")
    assert manager.trial_url() == "http://localhost:8080/pre"
    keeper = tmp_path / "trial_keeper"
    keeper.mkdir()
    channel = {"managerCommandChannel": "ws://10.0.0.5:8080/platform/remote0"}
    (keeper / "launcher_config.json").write_text(json.dumps(channel))
    resumed = tmp_path / "trial_keeper_1"
    resumed.mkdir()
    channel = {"managerCommandChannel": "ws://10.0.0.5:9090/platform/remote0/1?token=t0ken"}
    (resumed / "launcher_config.json").write_text(json.dumps(channel))
    # The worker's clock was set back in between.
    os.utime(resumed / "launcher_config.json", (1, 1))
    monkeypatch.setenv("NNI_PLATFORM", "remote")
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path / "trials" / "t1"))
    assert manager.trial_url() == "http://10.0.0.5:9090?token=t0ken"
    assert manager.address("http://10.0.0.5:9090?token=t0ken") == "http://10.0.0.5:9090"


@pytest.mark.parametrize("first", ["import nni_plugin.local_run", "import nni_plugin"])
def test_search_is_the_function_whatever_was_imported_first(first: str) -> None:
    code = f"{first}; import nni_plugin; print(nni_plugin.search.__name__, nni_plugin.search)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("search <function")
