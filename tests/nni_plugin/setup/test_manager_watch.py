"""A manager that is gone, one that hangs, one that is slow: real processes, told apart."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nni_plugin.setup import left_over, manager_watch, processes
from nni_plugin.setup.manager_watch import ManagerWatch

BUSY = "while True: pass"
DEAF = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[-1])))
time.sleep(600)
"""
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process whose command line is that of NNI's manager."""
    begun: list[subprocess.Popen[bytes]] = []

    def make(code: str, experiment: str, port: int = 0) -> subprocess.Popen[bytes]:
        words = ["main.js", "--experiment-id", experiment, str(port)]
        begun.append(subprocess.Popen([sys.executable, "-c", code, *words]))
        return begun[-1]

    yield make
    for process in begun:
        process.kill()
        process.wait()


def lost_after(watch: ManagerWatch, seconds: float) -> float | None:
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        if watch.is_lost():
            return passed
        time.sleep(0.05)
    return None


def test_a_manager_without_a_process_is_lost_after_a_few_requests() -> None:
    watch = ManagerWatch("nosuch00")
    assert [watch.is_lost() for _ in range(4)] == [False] * 4
    watch.answered()
    assert [watch.is_lost() for _ in range(5)] == [False] * 4 + [True]


def test_one_that_hangs_is_lost_and_one_that_works_is_not(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_watch, "_HANGS_S", 1.0)
    working = start(BUSY, "works000")
    assert lost_after(ManagerWatch("works000"), 3) is None
    working.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    assert processes.is_suspended(working.pid)
    after = lost_after(ManagerWatch("works000"), 10)
    assert after is not None
    assert after >= 1


def test_one_that_works_for_ever_without_an_answer_is_lost(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_watch, "_HANGS_S", 0.5)
    monkeypatch.setattr(manager_watch, "_STUCK_S", 1.5)
    start(BUSY, "stuck000")
    after = lost_after(ManagerWatch("stuck000"), 10)
    assert after is not None
    assert after >= 1.5


def test_what_hangs_is_ended_before_a_resume(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    noted = tmp_path / "nni-experiments" / ".experiment"
    noted.parent.mkdir()
    noted.write_text(json.dumps({"deaf0000": {"port": port}}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(manager_watch, "_HANGS_S", 0.5)
    process = start(DEAF, "deaf0000", port)
    other = start(BUSY, "other000")
    while not processes.managers("deaf0000"):
        time.sleep(0.05)
    time.sleep(1)  # until it listens
    said: list[str] = []
    left_over.clear("deaf0000", tmp_path / "deaf0000", said.append)
    process.wait(5)
    assert other.poll() is None
    assert "does not answer" in said[0]
    assert said[1:] == [f"Its manager (process {process.pid}) hangs: ending it."]
