"""Drives ``joint-ga run`` and ``joint-ga resume`` as a user does, and kills what a fault kills."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.faults.table_task import REPOSITORY

LOOK_S = 0.5
_RUNNING = re.compile(r"^Experiment (\w+) is running", re.M)
_END_S = 60.0

MANAGER, TUNER, TRIAL, FRONTEND = "manager", "tuner", "trial", "joint-ga"
WHOM: dict[str, Callable[[list[str]], bool]] = {
    MANAGER: lambda words: any(word.endswith("main.js") for word in words),
    TUNER: lambda words: "--exp_params" in words,
    TRIAL: lambda words: any(word.endswith("faulty_trial.py") for word in words),
    FRONTEND: lambda words: "nni_plugin.cli" in words,
}
"""The processes of an experiment, by the words of their command lines."""


class NotStartedError(RuntimeError):
    """``joint-ga`` ended, or did nothing for minutes, where an experiment should have begun."""


@dataclass
class Tool:
    """One ``joint-ga`` command, its process and what it printed."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")


class Experiment:
    """An experiment in a home of its own, so that its processes can be told from all others.

    Args:
        folder: holds its config, its home and all output; made by ``write_experiment``.

    Attributes:
        id: NNI's, once it has begun.
        peak_kb: largest resident memory of any of its tuners so far, in KiB.
        starts_s: seconds from each command to its "is running".
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = ""
        self.peak_kb = 0
        self.starts_s: list[float] = []
        self._tools: list[Tool] = []
        self._home = folder / "home"
        (self._home / "nni").mkdir(parents=True)
        self._environment = {
            **os.environ,
            "HOME": str(self._home),
            "NNI_CONFIG_DIR": str(self._home / "nni"),
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        self._environment.pop("NODE_OPTIONS", None)

    @property
    def tool(self) -> Tool:
        """The latest ``joint-ga`` command."""
        return self._tools[-1]

    @property
    def journal(self) -> Path:
        """The tuner's journal."""
        return self.folder / "experiments" / self.id / "checkpoint" / "journal.jsonl"

    @property
    def database(self) -> Path:
        """NNI's own record of the experiment."""
        return self.folder / "experiments" / self.id / "db" / "nni.sqlite"

    def run(self, patience_s: float = 420) -> None:
        """``joint-ga run``, up to the moment at which the experiment runs.

        Raises:
            NotStartedError: it doesn't.
        """
        self._start(("run", "config.yml"), patience_s)

    def resume(self, patience_s: float = 420) -> None:
        """``joint-ga resume``, up to the moment at which the experiment runs again.

        Raises:
            NotStartedError: it doesn't.
        """
        self._start(("resume", self.id, "--dir", "experiments"), patience_s)

    def _start(self, words: Sequence[str], patience_s: float) -> None:
        begin = time.monotonic()
        output = self.folder / f"{len(self._tools):03d}-{words[0]}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "nni_plugin.cli", *words],
                cwd=self.folder,
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's background job ignores Ctrl-C, and so would what it starts.
                preexec_fn=_heed_ctrl_c,
            )
        self._tools.append(Tool(process, output))
        while time.monotonic() - begin < patience_s:
            if match := _RUNNING.search(self.tool.text):
                self.id = match[1]
                self.starts_s.append(time.monotonic() - begin)
                return
            if process.poll() is not None:
                break
            time.sleep(LOOK_S)
        raise NotStartedError(f"joint-ga {' '.join(words)}: {self.tool.text[-2000:]}")

    def nnictl(self, *words: str) -> None:
        """An ``nnictl`` command."""
        subprocess.run(
            [sys.executable, "-m", "nni.tools.nnictl.nnictl", *words],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )

    # ---- its processes

    def processes(self, *whom: str) -> list[psutil.Process]:
        """Those of its processes that are meant by names of ``WHOM``; all of them without names."""
        found = []
        home = str(self._home)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("HOME") != home:
                    continue
                words = process.cmdline()
                if not whom or any(WHOM[name](words) for name in whom):
                    found.append(process)
        return found

    def send(self, number: signal.Signals, *whom: str) -> int:
        """Send a signal to all processes meant; returns to how many."""
        sent = 0
        for process in self.processes(*whom):
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
                sent += 1
        return sent

    def kill(self, *whom: str) -> int:
        """``kill -9``; without names of everything. Returns of how many processes."""
        return self.send(signal.SIGKILL, *whom)

    def end(self) -> None:
        """Leave nothing of it running."""
        end = time.monotonic() + _END_S
        while self.kill() and time.monotonic() < end:
            time.sleep(LOOK_S)

    # ---- how far it is

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> int | None:
        """Wait for ``joint-ga`` to end, at most so long, and watch the tuner's memory.

        Args:
            seconds: at most.
            until: ends the waiting early.

        Returns:
            Its exit status; None if it goes on.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._measure()
            code = self.tool.process.poll()
            if code is not None or until() or time.monotonic() > deadline:
                return code
            time.sleep(LOOK_S)

    def results(self) -> int:
        """Number of results in the journal."""
        with contextlib.suppress(OSError):
            return self.journal.read_bytes().count(b'{"event": "tell"')
        return 0

    def wait_for_results(self, number: int, seconds: float) -> None:
        """Wait until the journal holds so many results, whether ``joint-ga`` is there or not."""
        deadline = time.monotonic() + seconds
        while self.results() < number and time.monotonic() < deadline:
            time.sleep(LOOK_S)

    def _measure(self) -> None:
        for process in self.processes(TUNER):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{process.pid}/status").read_text()
                if match := re.search(r"VmHWM:\s+(\d+) kB", text):
                    self.peak_kb = max(self.peak_kb, int(match[1]))


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def load() -> Mapping[str, float]:
    """How busy the machine is: what a table of seconds needs beside it."""
    return {"cpus": os.cpu_count() or 1, "load": round(os.getloadavg()[0], 1)}
