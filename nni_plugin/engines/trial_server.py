"""The process that runs the trials of one machine: ``python -m nni_plugin.engines.trial_server``.

It reads messages from its stdin, a line each, and answers on its stdout: see ``messages``. It ends,
and all its trials with it, when its stdin closes: so nothing is left of a search that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nni_plugin.engines.engine import Ended, Event, Job, Note
from nni_plugin.engines.fork_server import ForkServer, python_command
from nni_plugin.engines.messages import READY, Lines, dump_event, load_job
from nni_plugin.engines.trial_files import (
    MetricsFile,
    lay_out,
    note_process,
    stderr_of,
    stdout_of,
    trial_environment,
)
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.trial_stderr import last_line
from nni_plugin.protocol.trial_watcher import Overrun

__all__ = ["ServerSettings", "TrialServer"]

_LOOK_S = 0.05
_LIMITS_S = 0.5
_LEAVE_S = 5.0
"""NNI gives a trial that it stops as long."""
_LONGEST = 300
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


@dataclass(frozen=True)
class ServerSettings:
    """What is to be run, and where.

    Attributes:
        experiment: its id.
        trials: the folder of all trials.
        command: of a trial, as in the config.
        code: the folder that trials start in.
        warm: whether to fork trials from a prepared process; None: if they are ours.
    """

    experiment: str
    trials: str
    command: str
    code: str
    warm: bool | None = None


@dataclass
class _Running:
    job: Job
    pid: int
    folder: Path
    metrics: MetricsFile
    overrun: Overrun
    reason: str | None = None
    kill_at: float | None = None
    is_stopped: bool = False


@dataclass
class TrialServer:
    """Starts trials, follows their reports, ends them.

    Args:
        settings: of the experiment.
        own_files: descriptors of this process that are none of a trial's business.
        limits: that trials are held to.
    """

    settings: ServerSettings
    own_files: Sequence[int] = ()
    limits: Limits = field(default_factory=Limits)
    _running: dict[str, _Running] = field(default_factory=dict)
    _warm: ForkServer | None = None
    _look_at_limits: float = 0.0

    def prepare(self) -> list[Event]:
        """Builds what trials share; says why each has a process of its own, if that is so."""
        wanted = self.settings.warm
        if wanted is False:
            return []
        command = python_command(self.settings.command)
        if isinstance(command, str):
            return [Note(f"Each trial imports everything anew: {command}.")] if wanted else []
        if wanted is None and not command.is_own:
            return []
        code = Path(self.settings.code)
        os.chdir(code)
        if command.is_own:
            sys.path.insert(0, str(code))
        warm = ForkServer(command, code, self.own_files)
        reason = warm.prepare()
        if reason is not None:
            return [Note(f"Each trial builds its task anew: {reason}.")]
        self._warm = warm
        return []

    @property
    def is_busy(self) -> bool:
        """Whether trials run."""
        return bool(self._running)

    def start(self, job: Job) -> list[Event]:
        """Starts a trial; one that can't be started has ended."""
        code = Path(self.settings.code)
        folder = Path(self.settings.trials) / job.id
        own = trial_environment(folder, job, self.settings.experiment, code)
        try:
            lay_out(folder, job)
            if not code.is_dir():
                raise NotADirectoryError(f"the trial's folder {code} is not on this machine")
            pid = self._fork(folder, own) if self._warm else self._spawn(folder, own, code)
            note_process(folder, pid)
        except OSError as error:
            return [Ended(job.id, f"the trial can't be started: {error}")]
        overrun = Overrun(psutil.Process(pid), time.monotonic(), lambda: self.limits)
        self._running[job.id] = _Running(job, pid, folder, MetricsFile(folder, job.id), overrun)
        return []

    def _fork(self, folder: Path, own: Mapping[str, str]) -> int:
        assert self._warm is not None
        return self._warm.fork(folder, own)

    def _spawn(self, folder: Path, own: Mapping[str, str], code: Path) -> int:
        with stdout_of(folder).open("ab") as out, stderr_of(folder).open("ab") as err:
            process = subprocess.Popen(
                self.settings.command,
                shell=True,
                cwd=code,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        process.returncode = 0  # this process asks for its exit status by itself
        return process.pid

    def stop(self, job: str) -> None:
        """Ends a trial by SIGINT, and by SIGKILL when it has not left after a while."""
        running = self._running.get(job)
        if running is not None and not running.is_stopped:
            running.is_stopped = True
            self._end(running, "the trial was stopped")

    def look(self) -> list[Event]:
        """What trials have reported, and which have ended."""
        now = time.monotonic()
        if now >= self._look_at_limits:
            self._look_at_limits = now + _LIMITS_S
            self._hold_to_limits()
        events: list[Event] = []
        for running in list(self._running.values()):
            if running.kill_at is not None and now >= running.kill_at:
                _signal_group(running.pid, signal.SIGKILL)
            status = _exit_status(running.pid)
            # Its last report may have come between the look and the end.
            events += running.metrics.read()
            if status is not None:
                events.append(self._ended(running, status))
        return events

    def _hold_to_limits(self) -> None:
        for running in self._running.values():
            if running.reason is None and not running.is_stopped:
                with contextlib.suppress(psutil.Error):
                    reason = running.overrun.reason()
                    if reason is not None:
                        self._end(running, reason)

    def _end(self, running: _Running, reason: str) -> None:
        running.reason = reason
        running.kill_at = time.monotonic() + _LEAVE_S
        _signal_group(running.pid, signal.SIGINT)

    def _ended(self, running: _Running, status: int) -> Ended:
        del self._running[running.job.id]
        # What it started and left behind.
        _signal_group(running.pid, signal.SIGKILL)
        if self._warm is not None:
            self._warm.learn(running.folder)
        if running.reason is not None:
            return Ended(running.job.id, running.reason)
        if status == 0:
            return Ended(running.job.id)
        said = last_line(stderr_of(running.folder))[:_LONGEST].removeprefix("trial failed: ")
        if status in _KILLED:
            last = f"; its last line: {said}" if said else ""
            return Ended(running.job.id, f"the trial was killed (SIGKILL){last}", is_lost=True)
        reason = f": {said}" if said else " and wrote nothing to stderr"
        return Ended(running.job.id, f"the trial failed{reason}")

    def close(self) -> None:
        """Ends every trial at once, and waits until that is so."""
        for running in self._running.values():
            _signal_group(running.pid, signal.SIGKILL)
        for running in self._running.values():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(running.pid, 0)


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _exit_status(pid: int) -> int | None:
    """The exit status of a child, negative for a signal; None while it runs."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 1
    return os.waitstatus_to_exitcode(status) if ended else None


def serve(commands: int, answers: int) -> None:
    """Serves until ``commands`` closes.

    Args:
        commands: a file descriptor to read messages from.
        answers: one to write messages to.
    """
    lines, server = Lines(), None
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)

    def answer(events: list[Event]) -> None:
        text = b"".join(json.dumps(dump_event(event)).encode() + b"\n" for event in events)
        while text:
            text = text[os.write(answers, text) :]

    try:
        while True:
            busy = server is not None and server.is_busy
            ready, _, _ = select.select([commands, wake], [], [], _LOOK_S if busy else None)
            if wake in ready:
                os.read(wake, 4096)
            if commands in ready:
                data = os.read(commands, 1 << 16)
                if not data:
                    return
                for message in lines.feed(data):
                    if message["do"] == "open":
                        server = TrialServer(
                            ServerSettings(**message["settings"]), (commands, answers, wake, woken)
                        )
                        answer(server.prepare())
                        os.write(answers, json.dumps(READY).encode() + b"\n")
                    elif server is not None:
                        answer(_obey(server, message))
            if server is not None:
                answer(server.look())
    finally:
        if server is not None:
            server.close()


def _obey(server: TrialServer, message: Settings) -> list[Event]:
    if message["do"] == "start":
        return server.start(load_job(message["job"]))
    if message["do"] == "limit":
        server.limits = Limits.of(message["limits"])
    elif message["do"] == "stop":
        server.stop(message["job"])
    return []


def main() -> None:
    """Serves on stdin and stdout; what else would print to stdout prints to stderr."""
    commands, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(commands, answers)


if __name__ == "__main__":
    main()
