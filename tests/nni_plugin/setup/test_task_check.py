"""The process that tries a task: it may hang or die, and who started it says where."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from evaluators.one_batch_process import Request
from nni_plugin.setup import task_check
from nni_plugin.setup.task_check import TaskCheck, TaskFindings
from support.paths import REPOSITORY

TESTS = REPOSITORY / "tests"


def check(
    fault: str,
    limit_s: float = 60.0,
    say: Callable[[str], None] = lambda _text: None,
    **more: object,
) -> TaskFindings:
    request = Request(f"support.faulty_tasks:{fault}", **more)  # type: ignore[arg-type]  # a test's own fields
    begun = TaskCheck(request, TESTS, limit_s=limit_s)
    found = begun.finish(say)
    left = [p for p in psutil.process_iter() if _is_of(p, begun._process.pid)]
    assert left == []
    return found


def _is_of(process: psutil.Process, group: int) -> bool:
    try:
        return process.pid == group or process.ppid() == group
    except psutil.Error:
        return False


def test_the_answer_of_a_task() -> None:
    found = check("right", metrics=("accuracy", "default", "f1"))
    # Of the right task nothing else is told.
    assert found.problems == ["no trial reports the metric 'f1': the task's metric is 'accuracy'"]


@pytest.mark.parametrize(
    ("fault", "limit_s", "words"),
    [
        (
            "waiting_loader",
            2.0,
            ("reading the first batch of 'val' took more than 2 s", "faulty_tasks.py:", "__iter__"),
        ),
        ("waiting_build", 0.3, ("building the task took more than 3 s", "--time-limit")),
        (
            "segfault",
            60.0,
            (
                "ended by SIGSEGV while running the model on one batch of 'train'",
                "faulty_tasks.py:",
            ),
        ),
        ("leaves", 60.0, ("ended with code 7 while building", "no licence for this data")),
    ],
)
def test_what_hangs_or_dies_is_told(
    fault: str, limit_s: float, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_check, "_PATIENCE_S", 0.4)
    monkeypatch.setattr(task_check, "LINE_S", 0.1)
    begun, said = time.monotonic(), list[str]()
    found = check(fault, limit_s, said.append)
    assert time.monotonic() - begun < 120
    (problem,) = found.problems
    for part in words:
        assert part in problem
    assert "\n" not in problem
    assert found.is_late == (fault == "waiting_build")
    if found.is_late:
        # Whoever waits sees that it goes on.
        assert said[0] == "building the task takes a while (epoch 0); it is ended after 3 s"
        assert "building the task: epoch 1" in said
        assert len(said) == len(set(said))


def test_it_ends_with_whoever_asked(tmp_path: Path) -> None:
    """A parent that is killed can't end what hangs."""
    code = f"""
import time
from pathlib import Path
from evaluators.one_batch_process import Request
from nni_plugin.setup.task_check import TaskCheck
begun = TaskCheck(Request("support.faulty_tasks:waiting_build"), Path({str(TESTS)!r}))
print(begun._process.pid, flush=True)
begun.finish(lambda text: None)
"""
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    hanging = psutil.Process(pid)
    asking.kill()
    asking.wait()
    hanging.wait(120)
