"""`joint-ga finish`: finalists of an ended search, trained in processes of this machine."""

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

from ga.evaluation import COMPLETE
from nni_plugin import local_run
from nni_plugin.cli.app import app
from nni_plugin.results.experiment import Experiment
from nni_plugin.results.finalists import finalists
from nni_plugin.study.journal import Journal, read
from support.paths import REPOSITORY
from support.tasks import TINY_TASK

pytestmark = pytest.mark.slow

# Trainings with seed 2 wait where `slow` is there: long enough to be interrupted.
TASK = TINY_TASK.replace(
    "    return Task(",
    """
    import time
    from pathlib import Path
    if Path("slow").exists() and not Path("went").exists():
        Path("went").touch()
        time.sleep(300)
    return Task(""",
)
TRIAL = "--task finish_task:build --device stm32f746 --epochs 1"
OPTIONS = ("--trial-arguments", TRIAL, "--count", "1", "--seeds", "2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task and an ended search of six trials, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "finish_task", raising=False)
    (tmp_path / "finish_task.py").write_text(TASK)
    local_run.search(
        "finish_task:build", "stm32f746", trials=6, epochs=1, folder="run", progress=False
    )
    return tmp_path


def run(*arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert (done.exit_code != 0) == fails, (done.output, done.exception)
    return f"{done.output}{done.exception or ''}"


def test_finalists_after_an_interruption_in_report_and_export(folder: Path) -> None:
    (folder / "slow").touch()
    command = [sys.executable, "-m", "nni_plugin.cli", "finish", "run", *OPTIONS, "--epochs", "2"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    journal = folder / "run" / "journal.jsonl"
    deadline = time.monotonic() + 180
    while not any(e["event"] == "tell" and e["uid"] < 0 for e in read(journal)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    asked = [e for e in read(journal) if e["event"] == "final"]
    assert len(asked) == 2, "two at once"

    said = run("finish", "run", *OPTIONS, "--epochs", "2")
    assert "Finalists: 1 trained for 2 epochs" in said
    assert said.count("trains for 2 epochs") == 1, "what was finished is not done again"
    events = read(journal)
    assert [e for e in events if e["event"] == "final"] == asked
    told = [e for e in events if e["event"] == "tell" and e["uid"] < 0]
    assert all("test_accuracy" in e["metrics"] for e in told)
    assert run("finish", "run", *OPTIONS, "--epochs", "2").count("trains for") == 0

    experiment = Experiment(folder / "run")
    (last,) = finalists(experiment.log)
    assert sorted(r.run.seed for r in last.runs) == [1, 2]
    assert last.trial.uid in {t.uid for t in experiment.front()}
    assert "Finalists" in run("report", "run", "-o", "report")
    (row,) = (folder / "report" / "finalists.csv").read_text().splitlines()[1:]
    assert row.startswith(f"{last.trial.uid},")
    frame = experiment.frame()
    assert frame.set_index("uid").loc[last.trial.uid, "final_runs"] == 2
    assert frame["test_accuracy"].count() == 1, "test was read for the finalist alone"
    assert all(run.status == COMPLETE for run in experiment.log.finals.values())


def test_what_it_refuses(folder: Path) -> None:
    assert "nothing to do" in run(
        "finish", "run", "--trial-arguments", TRIAL, "--count", "0", "--epochs", "2", fails=True
    )
    assert "epochs=0" in run("finish", "run", *OPTIONS, "--epochs", "0", fails=True)
    assert "nni.sqlite is missing" in run("finish", "run", "--epochs", "2", fails=True)
    with Journal(folder / "run" / "journal.jsonl"):
        assert "another process" in run("finish", "run", *OPTIONS, "--epochs", "2", fails=True)
    wrong = TRIAL.replace("finish_task:build", "finish_task:missing")
    said = run("finish", "run", *(wrong if o == TRIAL else o for o in OPTIONS), "--epochs", "2",
               fails=True)  # fmt: skip
    assert "no finalist has a result" in said
    assert "missing" in said
    events = [e["event"] for e in read(folder / "run" / "journal.jsonl")]
    assert json.dumps(events).count('"fail"') == 6, "three attempts of each seed"
