"""One batch of an experiment's task, tried in another process before the experiment starts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from evaluators.one_batch_process import BUILDING, IMPORTING, Request
from evaluators.progress import LINE_S
from nni_plugin.setup.supernet_training import SupernetTraining

__all__ = ["LIMIT_S", "TaskCheck", "TaskFindings", "TaskOptions"]

LIMIT_S = 60.0
"""What a step of the check may take: a choice, a hundred times of what shipped tasks need."""
BUILD_FACTOR = 10
"""The build may take so many times as long, as it may train the float model."""
_IMPORT_S = 300.0
"""No fault of the task's, but of a machine that is very busy."""
_PATIENCE_S, _IMPORT_PATIENCE_S = 5.0, 30.0
_ANSWER_S = 1.0
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')


def _silence(_text: str) -> None:
    """For callers that tell nobody."""


@dataclass(frozen=True)
class TaskOptions:
    """How the task of a config is tried.

    Attributes:
        limit_s: see :class:`TaskCheck`.
        read_s: see ``evaluators.one_batch.check_one_batch``.
        say: told what takes so long.
        anywhere: also where the trials run on another machine, which has its own data.
        wait: whether a build over its limit is a problem; a note otherwise.
    """

    limit_s: float = LIMIT_S
    read_s: float = 0.0
    say: Callable[[str], None] = _silence
    anywhere: bool = True
    wait: bool = True


@dataclass
class TaskFindings:
    """What the check found.

    Attributes:
        problems: what would break the trials, a line each.
        notes: what may be meant.
        is_late: whether the check was ended in the build, which may just take long.
        supernet_is_missing: whether the trials' supernet is yet to be trained.
        training: of that supernet, where trials run on this machine; see :func:`examine_config`.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_late: bool = False
    supernet_is_missing: bool = False
    training: SupernetTraining | None = None


class TaskCheck:
    """A check under way; it runs beside what its starter does.

    Args:
        request: the task and its files.
        folder: the working directory, as the trials have it.
        environment: variables that the trial command sets, beside those of this process.
        limit_s: seconds that a step may take; the build may take ten times as long.
    """

    def __init__(
        self,
        request: Request,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._limit_s = limit_s
        self._step, self._since = IMPORTING, time.monotonic()
        self._output = tempfile.TemporaryFile("a+", errors="replace")  # noqa: SIM115  # closed by end()
        read, write = os.pipe()
        self._answers = os.fdopen(read, "rb", buffering=0)
        command = [sys.executable, "-m", "evaluators.one_batch_process"]
        try:
            self._process = subprocess.Popen(
                [*command, str(write), str(os.getpid()), json.dumps(asdict(request))],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=(write,),
                start_new_session=True,
            )
        finally:
            os.close(write)

    def finish(self, say: Callable[[str], None]) -> TaskFindings:
        """Waits for the answer; nothing of the check is left running.

        Args:
            say: told after some seconds what takes so long and when it is ended, then every ten
                seconds the last line that the task printed, if it is a new one.
        """
        try:
            return self._wait(say)
        finally:
            self.end()

    def end(self) -> None:
        """Ends the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._answers.close()
        self._output.close()

    def _wait(self, say: Callable[[str], None]) -> TaskFindings:
        told, said, rest, ended = 0.0, "", b"", False
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while not ended:
                # A process that ended may have left a last line.
                ended = self._process.poll() is not None
                if selector.select(0.0 if ended else 0.2):
                    *lines, rest = (rest + self._read()).split(b"\n")
                    for line in lines:
                        answer = json.loads(line)
                        if "problems" in answer:
                            return TaskFindings(**answer)
                        self._step, self._since = answer["step"], time.monotonic()
                        told, ended = 0.0, False
                spent = time.monotonic() - self._since
                if spent > self._limit():
                    return self._late()
                patience = _IMPORT_PATIENCE_S if self._step == IMPORTING else _PATIENCE_S
                if not told and spent > patience:
                    told, said = spent, self._last_line()
                    its = f" ({said})" if said else ""
                    say(f"{self._step} takes a while{its}; it is ended after {self._limit():g} s")
                elif told and spent - told > LINE_S:
                    told, before, said = spent, said, self._last_line()
                    if said != before:
                        say(f"{self._step}: {said}")
        return TaskFindings([self._died()])

    def _read(self) -> bytes:
        return self._answers.read(65536) or b""

    def _limit(self) -> float:
        if self._step == IMPORTING:
            return _IMPORT_S
        return self._limit_s * (BUILD_FACTOR if self._step == BUILDING else 1)

    def _late(self) -> TaskFindings:
        spent = f"{self._limit():g} s"
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(_ANSWER_S)
        at = f" (at {where})" if (where := self._place()) else ""
        if self._step == BUILDING:
            text = (
                f"{self._step} took more than {spent}{at}: if it trains a float model that long, "
                "give --time-limit SECONDS; if it waits for something, so will each trial"
            )
            return TaskFindings([text], is_late=True)
        return TaskFindings(
            [
                f"{self._step} took more than {spent}{at}: so it would in each trial; give "
                "--time-limit SECONDS if that is meant"
            ]
        )

    def _died(self) -> str:
        code = self._process.returncode
        if code >= 0:
            said = self._last_line()
            told = f"; the last line it printed: {said}" if said else ""
            return f"the process ended with code {code} while {self._step}{told}"
        name = signal.Signals(-code).name
        why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        at = f" (at {where})" if (where := self._place()) else ""
        return (
            f"the process was ended by {name} while {self._step}{at}{why}: each trial would end so"
        )

    def _place(self) -> str:
        """Where Python was, as its fault handler printed it: the innermost place of the user's."""
        current = self._text().rpartition("Current thread 0x")[2].partition("\n\n")[0]
        frames = list(_FRAME.finditer(current))
        own = [f for f in frames if not _is_foreign(f["file"])]
        if not (frame := next(iter(own or frames), None)):
            return ""
        return f"{frame['file']}:{frame['line']}, {frame['name']}"

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._text().splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _text(self) -> str:
        output: IO[str] = self._output
        output.seek(0)
        return output.read()


def _is_foreign(file: str) -> bool:
    """Whether it is Python's, an installed package's or this project's own."""
    here = str(Path(__file__).parents[2])
    standard = str(Path(os.__file__).parent)
    own = file.startswith((f"{here}/evaluators/", f"{here}/nni_plugin/"))
    tasks = file.startswith(f"{here}/evaluators/tasks/")
    return file.startswith("<") or file.startswith(standard) or (own and not tasks)
