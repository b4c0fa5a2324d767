"""The tuner's append-only log: one JSON object a line, nothing is ever rewritten.

NNI never calls ``save_checkpoint`` and its own replay on resume restarts parameter ids and can pair
parameters with another trial's metrics (microsoft/nni#5726), so the journal is what a resumed
tuner is rebuilt from. Events and their keys:

============ ======================================================================
``start``    version, objectives, constraints, seed, space, costs, class_args
``ask``      uid, params, costs, origin
``tell``     uid, metrics, trial
``fail``     uid, reason, trial
``censor``   uid, metrics, rung, reason, expected (or absent)
``again``    uid, of a stopped chromosome that gets another trial
``import``   uid, params, metrics
``space``    space
``end``      reason
============ ======================================================================

Each line also carries ``time`` (seconds since the epoch).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

VERSION = 1
FILE_NAME = "journal.jsonl"

Status = Literal["running", "complete", "failed", "censored"]
Event = dict[str, Any]


@dataclass
class Record:
    """What the journal knows of one chromosome.

    Attributes:
        uid: The chromosome's number, unique within an experiment.
        params: The trial parameters, without ``uid``.
        status: ``running`` until a result or a failure was written.
        metrics: Final metrics (``complete``) or the last intermediate ones (``censored``).
        reason: Why it failed or was stopped.
        expected: What the final metrics of a stopped trial would probably have been.
        origin: How the optimizer came to it; ``imported`` if it came from outside.
        trial: NNI's trial job id, where known.
    """

    uid: int
    params: dict[str, Any]
    status: Status = "running"
    metrics: dict[str, float] | None = None
    reason: str = ""
    origin: str = ""
    trial: str | None = None
    costs: dict[str, float] | None = field(default=None, repr=False)
    expected: dict[str, float] | None = None


class Journal:
    """Appends events to a file; every line is on disk before ``append`` returns."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _end_broken_line(self.path)
        self._file = self.path.open("ab")

    def append(self, event: str, **fields: Any) -> None:
        """Write one event.

        Raises:
            ValueError: a field holds NaN, an infinity or something JSON has no word for.
        """
        line = {"event": event, **fields, "time": time.time()}
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; the journal can't be appended to afterwards."""
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


def read(path: str | Path) -> list[Event]:
    """All events of a journal, oldest first; an absent file is an empty journal.

    Lines that are no JSON object are left out: a process that is killed while it writes leaves
    half a line, at the end or, after a resume, in the middle.
    """
    path = Path(path)
    if not path.exists():
        return []
    events = []
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events


def results(events: Iterable[Mapping[str, Any]]) -> list[Record]:
    """The last word on every chromosome, in the order in which they were completed.

    Those still running stand last, in the order in which they were asked. A result that came
    after a failure replaces it, and the first of two results stands.
    """
    # Late: a trial needs this module at its start, and nothing of what `ga` imports.
    from ga.early_stopping.decision import StopDecision

    records: dict[int, Record] = {}
    for event in events:
        kind = event["event"]
        if kind == "ask":
            # Asked again after a resume: the chromosome is the same, only its trial is new.
            records.setdefault(
                event["uid"],
                Record(
                    event["uid"],
                    event["params"],
                    origin=event.get("origin", ""),
                    costs=event.get("costs"),
                ),
            )
        elif kind == "import":
            uid = event["uid"]
            records[uid] = Record(
                uid, event["params"], "complete", event["metrics"], origin="imported"
            )
        elif kind in ("tell", "fail", "censor", "again"):
            record = records.get(event["uid"])
            if record is None or record.status == "complete":
                continue
            if kind == "again":
                record.status, record.metrics, record.reason = "running", None, ""
                continue
            if kind == "censor":
                stop = StopDecision.from_event(event)
                record.status, record.metrics = "censored", stop.metrics
                record.reason, record.expected = stop.reason, stop.expected
            else:
                record.status = "complete" if kind == "tell" else "failed"
                record.metrics, record.expected = event.get("metrics"), None
                record.reason = event.get("reason", "")
            record.trial = event.get("trial") or record.trial
            records[record.uid] = records.pop(record.uid)  # moves to the end: completion order
    running = [r for r in records.values() if r.status == "running"]
    return [r for r in records.values() if r.status != "running"] + running


def _end_broken_line(path: Path) -> None:
    """Close a half-written last line, so that the next event starts a line of its own."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def read_chromosome(path: str | Path) -> dict[str, Any]:
    """Trial parameters from a JSON file; NNI's own record of a trial may be around them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no JSON, or no dict of genes.
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
