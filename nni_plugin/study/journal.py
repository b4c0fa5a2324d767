"""The tuner's append-only log: one JSON object a line, nothing is ever rewritten.

NNI never calls ``save_checkpoint`` and its own replay on resume restarts parameter ids and can pair
parameters with another trial's metrics (microsoft/nni#5726), so the journal is what a resumed
tuner is rebuilt from. Events and their keys:

============ ======================================================================
``start``    version, objectives, constraints, seed, space, costs, class_args, stack
``ask``      uid, params, costs, origin
``tell``     uid, metrics, trial
``fail``     uid, reason, and trial (whose result can't be used) or job (that gave none)
``censor``   uid, metrics, rung, reason, expected (or absent), job
``again``    uid, of a stopped chromosome that gets another trial
``import``   uid, params, metrics
``measure``  uid, metrics, of a chromosome that has a result and was measured once more
``final``    uid (below 0), of (a chromosome's uid), epochs, seed, finalist
``space``    space
``note``     text, of something that the search has met, such as limits that nothing keeps
``end``      reason
============ ======================================================================

Each line also carries ``time`` (seconds since the epoch) and ``uptime`` (seconds that its process
has had the journal open). Clocks are set, also backwards: what came first is said by the order of
the lines, and how long something took by ``uptime``. What the events mean together is said in one
place, ``nni_plugin.study.trial_log``.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from nni_plugin.protocol.json_types import Params
from nni_plugin.protocol.log import logger

try:
    import fcntl
except ImportError:  # Windows has no such lock
    fcntl = None  # type: ignore[assignment]  # mypy knows the module of this system only

VERSION = 2
"""1 has no ``final`` events; all else means the same."""
FILE_NAME = "journal.jsonl"
_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
DAMAGED = "it is no JSON object with an event (cut off while it was written, or damaged)"
"""What is said of a line that :func:`parse` makes nothing of."""

Event = dict[str, Any]
"""One line of a journal: JSON, unchecked."""


PATIENCE_S = 40.0
"""A tuner whose manager was killed lives on for about 25 s, on a busy machine for longer."""


class JournalInUseError(RuntimeError):
    """Another process appends to the journal; the message says what to do."""


class Journal:
    """Appends events to a file; every line is on disk before ``append`` returns.

    A journal has one owner. The lock is the kernel's, so a process that is killed leaves none. The
    file is private: it holds what models and trials are called.

    Args:
        path: the file; it and its folder, private as well, are made if they are not there.
        patience_s: how long to wait for another owner to leave.

    Raises:
        JournalInUseError: another process has it.
        OSError: the file can't be written.
    """

    def __init__(self, path: str | Path, patience_s: float = PATIENCE_S) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
        opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
        try:
            with contextlib.suppress(PermissionError):  # another user's file that we may write
                os.fchmod(opened, _PRIVATE)
            _lock(opened, self.path, patience_s)
            _end_broken_line(self.path)
        except BaseException:
            os.close(opened)
            raise
        self._file = os.fdopen(opened, "ab")
        self._opened = time.monotonic()

    def append(self, event: str, **fields: object) -> Event:
        """Writes one event and returns it as it was written.

        Raises:
            ValueError: a field holds NaN, an infinity or something JSON has no word for.
        """
        uptime = round(time.monotonic() - self._opened, 3)
        line: Event = {"event": event, **fields, "time": time.time(), "uptime": uptime}
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return line

    def close(self) -> None:
        """Closes the file; the journal can't be appended to afterwards."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def parse(data: bytes) -> tuple[list[Event | None], int]:
    """The events in a journal's bytes, a line each, and how many bytes they took.

    A line that is no JSON object is None: a process that is killed while it writes leaves half a
    line, at the end or, after a resume, in the middle. A last line without its newline counts if it
    is whole; half a line is not taken, for it may be written on.
    """
    *lines, tail = data.split(b"\n")
    found = [_event(line) for line in lines]
    last = _event(tail)
    if last is not None:
        found.append(last)
    taken = len(data) if last is not None else len(data) - len(tail)
    return found, taken


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "event" in event else None


def read(path: str | Path) -> list[Event]:
    """All events of a journal, oldest first; an absent file is an empty journal."""
    return [event for _, event in numbered(path)]


def numbered(path: str | Path) -> list[tuple[int, Event]]:
    """As :func:`read`, each with the number of its line; a damaged line is named in the log."""
    path = Path(path)
    found = []
    for number, event in enumerate(parse(path.read_bytes())[0] if path.exists() else [], 1):
        if event is None:
            logger.warning("%s, line %d is left out: %s", path, number, DAMAGED)
        else:
            found.append((number, event))
    return found


def _lock(opened: int, path: Path, patience_s: float) -> None:
    if fcntl is None:
        return
    end = time.monotonic() + patience_s
    told = False
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise JournalInUseError(
                    f"{path} is being written by another process, which has not left within "
                    f"{patience_s:g} s: of two tuners on one journal each would undo the other's "
                    "work. Stop the other one first (nnictl experiment list; nnictl stop ID)"
                ) from None
            if not told:
                logger.warning("%s has another owner, an earlier tuner: waiting for it", path)
                told = True
            time.sleep(0.2)


def _end_broken_line(path: Path) -> None:
    """Closes a half-written last line, so that the next event starts a line of its own."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def read_chromosome(path: str | Path) -> Params:
    """Trial parameters from a JSON file; NNI's own record of a trial may be around them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON, or no dict of genes.
    """
    try:
        params = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--params {path}: not JSON ({error})") from error
    if isinstance(params, dict) and isinstance(params.get("parameters"), dict):
        params = params["parameters"]
    if not isinstance(params, dict):
        raise ValueError(f"--params {path}: holds {type(params).__name__}, not a dict of genes")
    return params
