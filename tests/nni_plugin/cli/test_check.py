"""``joint-ga check``, ``init`` and ``run`` say what is wrong with a task before anything starts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hardware
from support.paths import REPOSITORY

TESTS = REPOSITORY / "tests"
LAYER = {"_type": "choice", "_value": [4, 8]}


def config(folder: Path, fault: str, **changes: Any) -> None:
    """An experiment of a faulty task; the file is called after the fault."""
    command = f"python3 -m nni_plugin.trial --task support.faulty_tasks:{fault} --device stm32f746"
    settings = {
        "searchSpace": {"0.w_bits": LAYER},
        "trialCommand": command,
        "trialCodeDirectory": str(TESTS),
        "trialConcurrency": 1,
        "maxTrialNumber": 2,
        "tuner": {
            "className": "nni_plugin.JointGATuner",
            "codeDirectory": str(REPOSITORY),
            "classArgs": {"objectives": {"accuracy": "maximize", "size_kb": "minimize"}},
        },
        "trainingService": {"platform": "local"},
        **changes,
    }
    (folder / f"{fault}.yml").write_text(json.dumps(settings))


def test_every_fault_of_a_task_is_a_line(joint_ga: Callable[..., Any], tmp_path: Path) -> None:
    config(tmp_path, "nan_metric")
    done = joint_ga("check", "nan_metric.yml")
    assert done.returncode == 4
    # On a busy machine a step may be told of before its end.
    (line,) = (line for line in done.stderr.splitlines() if "takes a while" not in line)
    assert line.startswith("joint-ga: trialCommand: --task: the task's metric 'accuracy' is nan")
    config(tmp_path, "rihgt")
    done = joint_ga("check", "rihgt.yml")
    assert done.returncode == 4
    assert "no function 'rihgt' (did you mean 'right'?)" in done.stderr
    assert joint_ga("check", "rihgt.yml", "--no-task").returncode == 0


def test_a_right_task_and_its_notes(
    joint_ga: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path, "crops")
    monkeypatch.setenv("JOINT_GA_CACHE", "/proc/sys/cache")
    done = joint_ga("check", "crops.yml")
    assert done.returncode == 0, done.stderr
    assert "joint-ga: note: cache: " in done.stderr
    assert "joint-ga: note: trialCommand: --task: a batch of 'train' has inputs" in done.stderr
    # There the data lies elsewhere.
    remote = {"platform": "remote", "machineList": []}
    config(tmp_path, "nan_metric", trainingService=remote, nniManagerIp="10.0.0.1")
    assert "nan" not in joint_ga("check", "nan_metric.yml").stderr
    assert "is nan" in joint_ga("check", "nan_metric.yml", "--task").stderr


def test_a_step_may_take_only_so_long(joint_ga: Callable[..., Any], tmp_path: Path) -> None:
    config(tmp_path, "waiting_loader")
    begun = time.monotonic()
    done = joint_ga("check", "waiting_loader.yml", "--time-limit", "7")
    assert time.monotonic() - begun < 300
    assert done.returncode == 4
    # A machine that is busy may be told of for its import of PyTorch, too.
    *_, doing, ended = done.stderr.splitlines()
    assert "reading the first batch of 'val' takes a while" in doing
    assert "ended after 7 s" in doing
    assert "reading the first batch of 'val' took more than 7 s (at " in ended
    assert "__iter__" in ended


def test_a_run_does_not_start_with_a_faulty_task(
    joint_ga: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "nni"))
    (tmp_path / "nni").mkdir()
    config(tmp_path, "segfault")
    done = joint_ga("run", "segfault.yml")
    assert done.returncode == 4
    assert "ended by SIGSEGV while running the model on one batch of 'train'" in done.stderr
    assert not (tmp_path / "nni-experiments").exists()
    # Without the look at the task the start is tried: here at a port that there isn't.
    done = joint_ga("run", "segfault.yml", "--no-check", "--port", "70000")
    assert (done.returncode, "70000" in done.stderr) == (1, True), done.stderr


def test_init_tries_a_batch_before_it_writes(
    joint_ga: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TESTS))
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.append({str(TESTS)!r})\n"
        "from support.faulty_tasks import right, generator\n"
    )
    words = ("init", "new", "--device", "stm32f746")
    done = joint_ga(*words, "--task", "mine:generator")
    assert done.returncode == 1
    assert "joint-ga: error: --task: the task's 'train' split is a generator" in done.stderr
    assert not (tmp_path / "new").exists()
    done = joint_ga(*words, "--task", "mine:right")
    assert done.returncode == 0, done.stderr
    network = hardware.Network.load(tmp_path / "new" / "space.network.json")
    # A model that is changed now is found by the check of what was written.
    layers = [layer.name for layer in network.layers if layer.is_weighted]
    text = (tmp_path / "new" / "space.network.json").read_text()
    (tmp_path / "new" / "space.network.json").write_text(text.replace(f'"{layers[0]}"', '"stem"'))
    space = (tmp_path / "new" / "space.json").read_text()
    (tmp_path / "new" / "space.json").write_text(space.replace(f'"{layers[0]}.', '"stem.'))
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    joint_ga("register")
    done = joint_ga("check", "new/ga_joint.yml")
    assert done.returncode == 4
    assert "the model has no layer 'stem' any more; the file does not know the layer '0'" in (
        done.stderr
    )
