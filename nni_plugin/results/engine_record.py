"""What an experiment without NNI's manager keeps of itself: its settings and its jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from nni_plugin.protocol.json_types import Settings

__all__ = ["EngineRecord", "JobRecord", "JobRecords"]

_FILE = "engine.json"
_JOBS = "jobs.jsonl"


@dataclass(frozen=True)
class EngineRecord:
    """The engine of an experiment, and all that a resume needs.

    Attributes:
        engine: its name.
        config: the settings of the experiment, as in its YAML file; paths are absolute.
        warm: whether trials start from a process that has their imports; None where that depends
            on the trial's command.
        address: of a cluster, if that was given.
    """

    engine: str
    config: Settings
    warm: bool | None = None
    address: str | None = None

    def write(self, folder: Path) -> None:
        """Writes the record into an experiment's folder, whole or not at all.

        Raises:
            OSError: the folder can't be written.
        """
        part = folder / f"{_FILE}.part"
        part.write_text(json.dumps(asdict(self), indent=1, default=str), encoding="utf-8")
        part.replace(folder / _FILE)

    @classmethod
    def read(cls, folder: Path) -> EngineRecord | None:
        """The record in an experiment's folder; None if NNI ran it.

        Raises:
            ValueError: it can't be read.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} can't be read ({error}): start a new experiment") from error


@dataclass(frozen=True)
class JobRecord:
    """One trial job that has ended; times are seconds since the epoch."""

    job: str
    uid: int
    status: str
    started: float
    ended: float
    node: str = ""


class JobRecords:
    """Appends the jobs of an experiment to a file, a line each.

    A line that is lost costs a duration in a table and nothing else: nothing is synchronized.

    Args:
        folder: the experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _JOBS
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, record: JobRecord) -> None:
        """Appends one job."""
        os.write(self._file, json.dumps(asdict(record)).encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    @staticmethod
    def read(folder: Path) -> Iterator[JobRecord]:
        """The jobs in an experiment's folder; lines that were cut off are left out."""
        path = folder / _JOBS
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                yield JobRecord(**json.loads(line))
            except (ValueError, TypeError):
                continue
