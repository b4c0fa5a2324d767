"""An engine whose trials are run by a process of its own: ``local``, and the bridge to Ray."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nni_plugin.engines.engine import Ended, EngineError, Event, Final, Job, Note, jobs_of
from nni_plugin.engines.messages import READY, Lines, dump_job, load_event
from nni_plugin.engines.trial_files import final_result, kill_left_over
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.trial_stderr import last_line

__all__ = ["ServerEngine", "server_command", "server_environment"]

_ROOT = str(Path(__file__).parents[2])
_RESTARTS = 3
"""In a row, without a trial's end between them: what takes a server so often takes the next one."""
_LEAVE_S = 10.0


def server_command(module: str) -> list[str]:
    """How a module of this package is started where it may not be installed.

    Not through ``PYTHONPATH``, which trials would inherit.
    """
    code = f"import sys; sys.path.append({_ROOT!r}); from {module} import main; main()"
    return [sys.executable, "-P", "-c", code]


def server_environment() -> dict[str, str]:
    """This process's environment, with this Python first and without another NNI trial's."""
    found = {name: text for name, text in os.environ.items() if not name.startswith("NNI_")}
    folder = str(Path(sys.executable).parent)
    found["PATH"] = os.pathsep.join(filter(None, [folder, found.get("PATH", "")]))
    return found


class ServerEngine:
    """Talks to the process that runs the trials, and starts it anew when it was killed.

    Args:
        name: of the engine.
        module: of the process, see ``trial_server``.
        settings: what it is told first.
        trials: the folder of all trials.
        log: where what it prints goes.
        gone: what it means that the process ends again and again.
    """

    def __init__(
        self,
        name: str,
        module: str,
        settings: Mapping[str, object],
        trials: Path,
        log: Path,
        gone: str = "the process that runs the trials ends again and again",
    ) -> None:
        self.name = name
        self._module = module
        self._settings = dict(settings)
        self._trials = trials
        self._log = log
        self._gone = gone
        self._jobs: dict[str, Job] = {}
        self._pending: list[Event] = []
        self._limits = Limits()
        self._deaths = 0
        self._start_server()

    def _start_server(self) -> None:
        self._lines, self._is_ready = Lines(), False
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                server_command(self._module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=server_environment(),
                start_new_session=True,
            )
        self._tell(do="open", settings=self._settings)
        self.limit(self._limits)

    def _tell(self, **message: object) -> None:
        assert self._server.stdin is not None
        # One that has died is noticed where its answers are read.
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.write(json.dumps(message).encode() + b"\n")
            self._server.stdin.flush()

    def start(self, job: Job) -> None:
        """Starts a trial."""
        self._jobs[job.id] = job
        self._tell(do="start", job=dump_job(job))

    def limit(self, limits: Limits) -> None:
        """Holds trials to these limits from now on."""
        self._limits = limits
        self._tell(do="limit", limits=asdict(limits))

    def stop(self, job: str) -> None:
        """Has a trial end before its time."""
        self._tell(do="stop", job=job)

    def events(self, seconds: float) -> Sequence[Event]:
        """What has happened since the last call; waits so long if nothing has.

        Raises:
            EngineError: its process has died again and again, or says that it can't go on.
        """
        assert self._server.stdout is not None
        answers = self._server.stdout.fileno()
        deadline = time.monotonic() + seconds
        while not self._pending:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([answers], [], [], left)
            if not ready:
                return []
            data = os.read(answers, 1 << 16)
            if data:
                self._take(data)
            else:
                self._replace_server()
                break
        events, self._pending = self._pending, []
        return events

    def _take(self, data: bytes) -> None:
        for message in self._lines.feed(data):
            if message == READY:
                self._is_ready = True
                continue
            if "error" in message:
                raise EngineError(str(message["error"]))
            event = load_event(message)
            if isinstance(event, Ended):
                self._jobs.pop(event.job, None)
                self._deaths = 0
            self._pending.append(event)

    def _replace_server(self) -> None:
        """Its trials have ended with it, or are ended here; their chromosomes are lost.

        One that was never ready ran none: what it was told goes to the next one.
        """
        self._reap()
        self._deaths += 1
        if self._deaths > _RESTARTS:
            raise EngineError(
                f"{self._gone} ({self._deaths} times; the last it said: "
                f"{last_line(self._log)[:200] or 'nothing'}; see {self._log})"
            )
        if not self._is_ready:
            self._start_server()
            for job in self._jobs.values():
                self._tell(do="start", job=dump_job(job))
            return
        self._pending.append(Note("The process that runs the trials has ended: starting another."))
        for job in self._jobs.values():
            value = final_result(self._trials / job.id, job.id)
            if value is not None:
                self._pending.append(Final(job.id, value))
            lost = "the process that runs the trials has ended"
            self._pending.append(Ended(job.id, lost, is_lost=True))
        self._jobs.clear()
        self._start_server()

    def _reap(self) -> None:
        """Waits for the server; kills what it could not end any more."""
        with contextlib.suppress(BrokenPipeError):
            assert self._server.stdin is not None
            self._server.stdin.close()
        try:
            self._server.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()
        for job in self._jobs:
            kill_left_over(self._trials / job)

    def final_result(self, uid: int) -> tuple[str, object] | None:
        """The job and the final result of a chromosome whose driver was killed before it knew."""
        for folder in reversed(jobs_of(self._trials, uid)):
            kill_left_over(folder)
            value = final_result(folder, folder.name)
            if value is not None:
                return folder.name, value
        return None

    def close(self) -> None:
        """Ends all trials and the process."""
        if self._server.returncode is None:
            self._reap()
        self._jobs.clear()
