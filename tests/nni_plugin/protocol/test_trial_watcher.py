"""Trials over their limits, as processes of their own: each is really ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nni_plugin.protocol import trial_watcher
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.trial_watcher import EXIT_SIGNAL
from support.paths import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts memory in /proc")

TRIAL = """
import ctypes, mmap, os, signal, sys, time
from nni_plugin.protocol import trial_watcher
trial_watcher.start()
print(trial_watcher._watcher.pid, flush=True)
{body}
"""
ALL = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
IGNORE = (
    "for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n"
)


def experiment(folder: Path, limits: Limits) -> dict[str, str]:
    """The environment of a trial in an experiment's folder."""
    limits.write(folder / "log")
    output = folder / "environments" / "local-env" / "trials" / "t1"
    output.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "NNI_OUTPUT_DIR": str(output),
        "NNI_PLATFORM": "local",
        "PYTHONPATH": str(REPOSITORY),
    }


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def run(folder: Path, limits: Limits, body: str) -> tuple[int, str, float]:
    """Its exit code, the last line on stderr and the seconds that it took."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", TRIAL.format(body=body)],
        env=experiment(folder, limits),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    watcher = int(done.stdout.split()[0])
    deadline = time.monotonic() + 10
    while is_alive(watcher):
        assert time.monotonic() < deadline, "the watcher outlives its trial"
        time.sleep(0.05)
    lines = done.stderr.strip().splitlines() or [""]
    return done.returncode, lines[-1], time.monotonic() - begin


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("time.sleep(60)", EXIT_SIGNAL),
        (IGNORE + "while True: pass", EXIT_SIGNAL),
        # Native code that holds Python's lock: no thread and no handler of Python's gets a turn.
        ("ctypes.PyDLL(None).sleep(60)", EXIT_SIGNAL),
        (ALL + "time.sleep(60)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGSTOP)", -signal.SIGKILL),
    ],
    ids=["sleeps", "ignores signals", "stuck in native code", "blocks all signals", "is stopped"],
)
def test_a_trial_that_does_not_end_is_ended(tmp_path: Path, body: str, code: int) -> None:
    returned, said, took = run(tmp_path, Limits(1.5, "trial_limits.seconds"), body)
    assert returned == code
    assert said == "trial failed: over its limit of 1.5 s (trial_limits.seconds)"
    assert 1.5 < took < 30


GROW = "held = []\nwhile True:\n    held.append(bytearray(10 << 20))\n    time.sleep(0.02)\n"
CHILD = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", {"import time" + chr(10) + GROW!r}])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("body", [GROW, CHILD], ids=["itself", "its child"])
def test_a_trial_that_takes_too_much_memory_is_ended(tmp_path: Path, body: str) -> None:
    limits = Limits(memory_mb=250, memory_from="trial_limits.memory_mb")
    code, said, _ = run(tmp_path, limits, body)
    assert code == EXIT_SIGNAL
    assert said.startswith("trial failed: over its memory limit of 250 MB with ")
    assert said.endswith(" MB (trial_limits.memory_mb)")


def test_children_end_with_their_trial(tmp_path: Path) -> None:
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    run(tmp_path, Limits(1.5, "maxTrialDuration"), body)
    child = int((tmp_path / "child").read_text())
    assert not is_alive(child)


def test_memory_that_is_shared_or_can_be_given_back_counts_once_or_not(tmp_path: Path) -> None:
    body = """
held = bytearray(120 << 20)
with open("data", "wb") as file:
    file.write(bytes(150 << 20))
with open("data", "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert mapped[::4096]
children = []
for _ in range(2):
    if (pid := os.fork()) == 0:
        time.sleep(3)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""
    limits = Limits(memory_mb=220, memory_from="trial_limits.memory_mb")
    assert run(tmp_path, limits, body)[:2] == (0, "")


def test_a_trial_within_its_limits_is_left_alone(tmp_path: Path) -> None:
    limits = Limits(3600, "trial_limits.seconds", None, 0.8, "80 % of the machine's memory")
    assert run(tmp_path, limits, "held = bytearray(50 << 20); time.sleep(1)")[:2] == (0, "")


def test_limits_that_come_while_it_runs_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in experiment(tmp_path, Limits()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trial_watcher, "_LIMITS_S", 0.0)
    overrun = trial_watcher.Overrun(psutil.Process(), time.monotonic() - 100)
    assert overrun.reason() is None
    Limits(60, "10 times the longest of 5 complete trials").write(tmp_path / "log")
    assert "limit of 60 s (10 times the longest" in str(overrun.reason())
    # A file that can't be read is no reason to let a trial run for ever.
    (tmp_path / "log" / "joint-ga" / "limits.json").write_text("{")
    assert "limit of 60 s" in str(overrun.reason())
