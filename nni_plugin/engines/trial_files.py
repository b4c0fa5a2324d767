"""What a trial and its engine tell each other: files in the trial's folder, as NNI has them.

A trial asks nobody: its environment names the folder, ``parameter.cfg`` in it holds the parameters,
and what it reports is appended to ``.nni/metrics``. NNI's own package does both sides of the trial
(its platform ``local``), so any script that calls ``nni.get_next_parameter`` and ``nni.report_*``
runs as it is. What was reported outlives the trial and its engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path

from nni_plugin.engines.engine import Final, Job, Reported
from nni_plugin.protocol.trial_watcher import ENGINE

__all__ = [
    "MetricsFile",
    "final_result",
    "kill_left_over",
    "lay_out",
    "note_process",
    "trial_environment",
]

_FRAME = re.compile(rb"ME(\d{6})")
"""How NNI begins each report: its length in bytes follows."""

_STDERR, _STDOUT = "trial.stderr", "trial.stdout"
_PID = "pid"


def lay_out(folder: Path, job: Job) -> None:
    """Makes a trial's folder with its parameters.

    Raises:
        OSError: it can't be written, or is there already.
    """
    (folder / ".nni").mkdir(parents=True)
    record = {"parameter_id": job.sequence, "parameter_source": "algorithm"}
    text = json.dumps({**record, "parameters": job.params, "parameter_index": 0})
    (folder / "parameter.cfg").write_text(text, encoding="utf-8")
    (folder / ".nni" / "metrics").touch()


def stderr_of(folder: Path) -> Path:
    """Where a trial's stderr goes."""
    return folder / _STDERR


def stdout_of(folder: Path) -> Path:
    """Where a trial's stdout goes."""
    return folder / _STDOUT


def trial_environment(folder: Path, job: Job, experiment: str, code: Path) -> dict[str, str]:
    """The variables by which NNI's package, and ours, find the files.

    Args:
        folder: of the trial.
        job: what runs in it.
        experiment: the experiment's id.
        code: where trials start.
    """
    return {
        "NNI_PLATFORM": "local",
        "NNI_EXP_ID": experiment,
        "NNI_TRIAL_JOB_ID": job.id,
        "NNI_TRIAL_SEQ_ID": str(job.sequence),
        "NNI_SYS_DIR": str(folder),
        "NNI_OUTPUT_DIR": str(folder),
        "NNI_CODE_DIR": str(code),
        "MULTI_PHASE": "false",
        "REUSE_MODE": "false",
        # Limits are the engine's own to keep, see `trial_watcher`.
        ENGINE: "1",
    }


def note_process(folder: Path, pid: int) -> None:
    """Writes down the process of a trial, which leads a group of its own."""
    (folder / _PID).write_text(str(pid))


def kill_left_over(folder: Path) -> None:
    """Ends the processes of a trial whose engine was killed; nothing happens if there are none."""
    import psutil

    path = folder / _PID
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        pid, noted = int(path.read_text()), path.stat().st_mtime
        # Else the number has gone to another process since.
        if psutil.Process(pid).create_time() <= noted + 1.0:
            os.killpg(pid, signal.SIGKILL)


class MetricsFile:
    """Follows what a trial reports.

    Args:
        folder: of the trial.
        job: its id.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self._path = folder / ".nni" / "metrics"
        self._job = job
        self._offset = 0

    def read(self) -> list[Reported | Final]:
        """The whole reports since the last call; one that is being written comes next time."""
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except OSError:
            return []
        found, at = [], 0
        while (head := _FRAME.search(data, at)) is not None:
            end = head.end() + int(head[1])
            if end > len(data):
                break
            found += self._report(data[head.end() : end])
            at = end
        self._offset += at
        return found

    def _report(self, text: bytes) -> list[Reported | Final]:
        try:
            metric = json.loads(text)
            value, kind = _decoded(metric["value"]), metric["type"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return []
        if kind == "FINAL":
            return [Final(self._job, value)]
        return [Reported(self._job, value)] if kind == "PERIODICAL" else []


def _decoded(value: object) -> object:
    """A value as it was reported; NNI dumps it to JSON before it dumps the report."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def final_result(folder: Path, job: str) -> object | None:
    """The first final result that a trial reported; None if it reported none."""
    finals = [event for event in MetricsFile(folder, job).read() if isinstance(event, Final)]
    return finals[0].value if finals else None
