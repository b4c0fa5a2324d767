"""The limits that a trial is held to, and the file through which the tuner tells them.

The tuner writes the file into NNI's log folder, which NNI's web server serves: so a trial finds
what holds right now, on this machine or on another one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from nni_plugin.protocol.json_types import JsonObject

FILE = Path("joint-ga", "limits.json")
"""Below the log folder, where the live page has its files, too."""

OVER = "over its "
"""How the reason of every trial begins that was ended at a limit."""


@dataclass(frozen=True)
class Limits:
    """What a trial may take; None stands for no limit.

    Attributes:
        seconds: from when it asks for its parameters.
        seconds_from: the setting behind ``seconds``, or how it was found.
        memory_mb: of the trial and its children, 1 MB = 1024 * 1024 bytes.
        memory_share: instead of ``memory_mb``, as a share of the memory of the trial's machine.
        memory_from: as ``seconds_from``.
    """

    seconds: float | None = None
    seconds_from: str = ""
    memory_mb: float | None = None
    memory_share: float | None = None
    memory_from: str = ""

    def memory_on(self, machine_mb: float) -> float | None:
        """The memory limit, in MB, on a machine with so much of it."""
        if self.memory_mb is not None or self.memory_share is None:
            return self.memory_mb
        return self.memory_share * machine_mb

    def over_time(self) -> str:
        """Why a trial failed that ran too long."""
        return f"{OVER}limit of {self.seconds or 0:g} s ({self.seconds_from})"

    def over_memory(self, used_mb: float, limit_mb: float) -> str:
        """Why a trial failed that took too much memory."""
        return f"{OVER}memory limit of {limit_mb:.0f} MB with {used_mb:.0f} MB ({self.memory_from})"

    def write(self, logs: Path) -> None:
        """Writes the file, whole or not at all.

        Args:
            logs: NNI's log folder.

        Raises:
            OSError: the folder can't be written.
        """
        path = logs / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(path)

    @classmethod
    def read(cls, logs: Path) -> Limits | None:
        """The limits in a log folder; None if there is no file that can be read."""
        try:
            return cls.of(json.loads((logs / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    @classmethod
    def of(cls, told: object) -> Limits:
        """The limits in the file's JSON.

        Raises:
            ValueError: it is no such file's.
        """
        fields: JsonObject = told if isinstance(told, dict) else {}
        if not {"seconds_from", "memory_from"} <= fields.keys():
            raise ValueError(f"not the limits of trials: {told!r:.80}")
        return cls(
            _number(fields.get("seconds")),
            str(fields["seconds_from"]),
            _number(fields.get("memory_mb")),
            _number(fields.get("memory_share")),
            str(fields["memory_from"]),
        )


def _number(value: object) -> float | None:
    """A number, without the packages that a trial's watcher has no time to import."""
    return float(value) if isinstance(value, (int, float)) else None


def manager_logs() -> Path | None:
    """NNI's log folder, for a trial on the manager's machine; None elsewhere."""
    output = os.environ.get("NNI_OUTPUT_DIR")
    if not output or os.environ.get("NNI_PLATFORM") == "remote":
        return None
    # <experiment>/environments/<name>/trials/<id>
    parents = Path(output).parents
    found = parents[3] / "log" if len(parents) > 3 else None
    return found if found is not None and found.is_dir() else None
