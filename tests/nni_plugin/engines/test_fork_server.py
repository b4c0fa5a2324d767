"""Trials that are forked: which can be, and that they give what a process of their own gives."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nni_plugin.engines.fork_server import ForkServer, PythonCommand, python_command
from nni_plugin.results.experiment import Experiment
from support.engine_runs import LIGHT, REPORT, run, settings

# One that nothing large has to be imported for, with a metric of many digits.
CONV_TASK = """
import torch
from torch import nn
from evaluators import Task
from evaluators.batches import ArrayBatches

def build():
    torch.manual_seed(0)
    x = torch.randn(96, 1, 6, 6)
    y = (x.mean((1, 2, 3)) > 0).long()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)
    )
    train, val = (ArrayBatches(x, y, batch_size=32, shuffle=s) for s in (True, False))
    return Task(
        model=model, train=train, val=val, test=val, example_input=x[:2],
        loss=nn.functional.cross_entropy, metric_name="likelihood",
        metric=lambda out, target: float(out.softmax(1).gather(1, target[:, None]).mean()),
    )
"""
OWN = f"{sys.executable} -m nni_plugin.trial --task m:f --device stm32f746"


def test_a_python_program_is_told_from_a_shells() -> None:
    found = python_command(f"SIZE=3 {OWN}")
    assert isinstance(found, PythonCommand)
    assert found.is_own
    assert found.environment == {"SIZE": "3"}
    assert found.trial().task == "m:f"
    found = python_command(f"{OWN} --train-supernet s.json")
    assert isinstance(found, PythonCommand), "the first trial trains it, forked or not"
    script = python_command(f"{sys.executable} -u trial.py --x 1")
    assert isinstance(script, PythonCommand)
    assert (script.script, script.arguments) == ("trial.py", ("--x", "1"))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"cd there && {OWN}", "needs a shell"),
        (f"{OWN} > out.txt", "needs a shell"),
        ("/no/such/python trial.py", "is not this Python"),
        ("bash trial.sh", "is not this Python"),
        (f"{sys.executable} -c pass", "Python options"),
        (f"{sys.executable} 'trial.py", "can't be read"),
    ],
)
def test_why_a_command_is_not_forked(command: str, reason: str) -> None:
    found = python_command(command)
    assert isinstance(found, str)
    assert reason in found


def test_a_task_that_keeps_a_file_open_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two forked trials would read at one place of the file."""
    (tmp_path / "open_task.py").write_text(
        "from evaluators.tasks.digits import build as digits\n"
        "def build():\n    global held\n    held = open(__file__)\n    return digits()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("evaluators.tasks.digits.build", lambda: None)
    monkeypatch.setattr("evaluators.load_task", lambda name, data: __import__("open_task").build())
    command = python_command(OWN)
    assert isinstance(command, PythonCommand)
    reason = ForkServer(command, tmp_path).prepare()
    assert reason is not None
    assert "open_task.py open" in reason


def test_the_process_that_is_forked_looks_for_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children could use none then; torch's tracing looks."""
    import torch

    (tmp_path / "gpu_task.py").write_text(CONV_TASK)
    monkeypatch.syspath_prepend(tmp_path)
    looked: list[int] = []
    # Appending gives None, as if there were no GPU.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: looked.append(1))
    command = python_command(OWN.replace("m:f", "gpu_task:build"))
    assert isinstance(command, PythonCommand)
    assert ForkServer(command, tmp_path).prepare() is None
    assert not looked


@pytest.mark.slow
def test_a_forked_trial_gives_what_a_fresh_one_gives(tmp_path: Path) -> None:
    """To the last digit: networks, training, metrics and costs."""
    (tmp_path / "conv_task.py").write_text(CONV_TASK)
    command = (
        f"{sys.executable} -m nni_plugin.trial --task conv_task:build --device stm32f746 --epochs 2"
    )
    goals = {"likelihood": "maximize", "size_kb": "minimize"}
    genes = {"0.prune": [0.25, 0.5], "0.w_bits": [4, 8], "4.w_bits": [2, 8], "4.a_bits": [4, 8]}
    config = settings(
        tmp_path,
        searchSpace={name: {"_type": "choice", "_value": found} for name, found in genes.items()},
        trialCommand=command,
        tuner={"name": "JointGA", "classArgs": {"objectives": goals, "seed": 1}},
        maxTrialNumber=2,
    )
    folder, ended, said = run(config)
    assert ended.status == "DONE", ended.error
    assert not said
    _, second = Experiment(folder).log.finished("complete")
    place = folder / "environments/local-env/trials/t2"
    fresh = subprocess.run(
        [*shlex.split(command), "--params", str(place / "parameter.cfg")],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(fresh.stdout.splitlines()[-1]) == {**second.metrics, "uid": 2}
    # A fresh one tells how long its imports took.
    assert "import " in fresh.stdout
    assert "import " not in (place / "trial.stdout").read_text()


def test_what_one_forked_trial_does_to_its_process_no_other_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "shared_folder.py").write_text(
        "import tempfile\nfolder = tempfile.TemporaryDirectory()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"), prepend=os.pathsep)
    body = (
        LIGHT
        + "import shared_folder\n"
        + "assert os.path.isdir(shared_folder.folder.name), 'an earlier trial has removed it'\n"
        + "import math\nassert not hasattr(math, 'seen'), 'not the first'\nmath.seen = True\n"
        + "assert os.environ.get('MARK') is None\nos.environ['MARK'] = '1'\n"
        + "os.chdir('/')\n"
        + REPORT
    )
    folder, ended, _ = run(settings(tmp_path / "code", body, maxTrialNumber=4), warm=True)
    assert ended.status == "DONE", ended.error
    log = Experiment(folder).log
    assert not [trial.reason for trial in log.finished("failed")]
    assert log.counts()["complete"] == 4


def test_a_script_that_needs_a_shell_runs_in_one_and_that_is_said(tmp_path: Path) -> None:
    config = settings(tmp_path, maxTrialNumber=2)
    config["trialCommand"] += " && true"
    folder, ended, said = run(config, warm=True)
    assert ended.status == "DONE"
    assert any("needs a shell" in line for line in said)
    assert Experiment(folder).log.counts()["complete"] == 2
