"""The evaluations of one experiment, as its journal tells them.

The tuner appends one JSON line per event to ``journal.jsonl``; everything that shows a run
(the live page, ``joint-ga run``'s table, reports) follows that file and nothing else, so that
they cannot disagree. This module imports neither pandas nor NNI: the tuner's process uses it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FINAL", "Trial", "TrialLog", "is_uniform_int8"]

FINAL = ("complete", "failed", "censored")
"""States of a trial that has ended; a censored one may run again."""

_ENDINGS = {"tell": "complete", "fail": "failed", "censor": "censored"}


@dataclass
class Trial:
    """One chromosome and what became of it.

    ``status`` is ``running`` (asked, no answer yet), ``complete``, ``failed`` or ``censored``
    (stopped early: ``metrics`` are its last intermediate ones). ``asked`` and ``finished`` are
    seconds since the epoch.
    """

    uid: int
    params: dict[str, Any]
    status: str = "running"
    metrics: dict[str, float] = field(default_factory=dict)
    origin: str = ""
    trial: str | None = None
    reason: str = ""
    asked: float | None = None
    finished: float | None = None


class TrialLog:
    """Follows a journal: :meth:`refresh` reads the lines that were added since the last call.

    Attributes:
        trials: all trials by uid, in the order they were first mentioned.
        objectives: ``{metric: "maximize" | "minimize"}`` of the latest start.
        constraints: as given to the tuner, ``{metric: "<= 256"}``.
        space: NNI search space in force.
        started: time of the first start event, epoch seconds.
        ended: reason of the last ``end`` event; ``""`` while the search goes on.
    """

    def __init__(self, journal: str | Path) -> None:
        self.path = Path(journal)
        self.trials: dict[int, Trial] = {}
        self.objectives: dict[str, str] = {}
        self.constraints: dict[str, Any] = {}
        self.space: dict[str, Any] = {}
        self.class_args: dict[str, Any] = {}
        self.started: float | None = None
        self.ended = ""
        self._offset = 0

    def refresh(self) -> list[Trial]:
        """Reads new lines and returns the trials they finished, in the order they finished.

        A last line without a newline is being written (or was cut by a kill -9): it is left for
        the next call. A line that is no JSON is skipped: the tuner continues after such a cut.
        """
        if not self.path.exists():
            return []
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        finished = []
        for line in data[:end].splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                trial = self._apply(event)
                if trial is not None:
                    finished.append(trial)
        return finished

    def _apply(self, event: dict[str, Any]) -> Trial | None:
        kind, time = event.get("event"), event.get("time")
        if kind == "start":
            self.objectives = event.get("objectives") or self.objectives
            self.constraints = dict(event.get("constraints") or {}) or self.constraints
            self.space = event.get("space") or self.space
            self.class_args = event.get("class_args") or self.class_args
            self.started = time if self.started is None else self.started
            self.ended = ""
        elif kind == "space":
            self.space = event.get("space") or self.space
        elif kind == "end":
            self.ended = str(event.get("reason") or "ended")
        elif kind in ("ask", "again", "import") or kind in _ENDINGS:
            return self._trial_event(str(kind), event, time)
        return None

    def _trial_event(self, kind: str, event: dict[str, Any], time: float | None) -> Trial | None:
        uid = int(event["uid"])
        trial = self.trials.setdefault(uid, Trial(uid, event.get("params") or {}))
        if kind == "ask":
            trial.params = event.get("params") or trial.params
            trial.origin = event.get("origin") or trial.origin
            trial.asked = time if trial.asked is None else trial.asked
            return None
        if trial.status == "complete":
            return None
        if kind == "again":
            trial.status, trial.finished = "running", None
            return None
        trial.status = _ENDINGS.get(kind, "complete")
        if kind == "import":
            trial.origin = "import"
        trial.metrics = _finite(event.get("metrics"))
        trial.trial = event.get("trial") or trial.trial
        trial.reason = str(event.get("reason") or "")
        trial.finished = time
        return trial

    def finished(self, status: str = "complete") -> list[Trial]:
        """Trials in ``status``, in the order they finished."""
        chosen = [t for t in self.trials.values() if t.status == status]
        return sorted(chosen, key=lambda t: (t.finished or 0.0, t.uid))

    def counts(self) -> dict[str, int]:
        """Number of trials by status; every status is a key."""
        result = dict.fromkeys((*FINAL, "running"), 0)
        for trial in self.trials.values():
            result[trial.status] += 1
        return result

    def metric_names(self) -> list[str]:
        """Every metric some trial reported; objectives first, then by name.

        ``default`` is left out where it only repeats another metric, as are the echoed ``uid``
        and the ``baseline_`` keys (they describe the float model, not the trial).
        """
        names: set[str] = set()
        for trial in self.trials.values():
            names.update(trial.metrics)
        names = {n for n in names if n != "uid" and not n.startswith("baseline_")}
        complete = [t.metrics for t in self.trials.values() if t.status == "complete"]
        if "default" not in self.objectives and any(
            complete and all(m.get(n) == m.get("default") for m in complete)
            for n in names - {"default"}
        ):
            names.discard("default")
        first = [n for n in self.objectives if n in names]
        return first + sorted(names - set(first))

    def baseline(self) -> dict[str, float]:
        """Metrics of the uncompressed float model (``baseline_<metric>`` keys of the trials)."""
        for trial in reversed(list(self.trials.values())):
            found = {
                key.removeprefix("baseline_"): value
                for key, value in trial.metrics.items()
                if key.startswith("baseline_")
            }
            if found:
                return found
        return {}

    def uniform_int8(self) -> Trial | None:
        """The evaluated trial that prunes nothing and puts 8 bits everywhere, if there is one."""
        for trial in self.trials.values():
            if trial.status == "complete" and is_uniform_int8(trial.params):
                return trial
        return None


def is_uniform_int8(params: dict[str, Any]) -> bool:
    """Whether ``params`` is the network as it stands in int8: prune 0, 8 bits for every gene."""
    bits = [v for k, v in params.items() if k.endswith((".w_bits", ".a_bits"))]
    prune = [v for k, v in params.items() if k.endswith(".prune")]
    return bool(bits) and all(b == 8 for b in bits) and all(p == 0 for p in prune)


def _finite(metrics: Any) -> dict[str, float]:
    """The usable part of a metrics dict: numbers that are finite."""
    if not isinstance(metrics, dict):
        metrics = {"default": metrics}
    return {
        str(key): value
        for key, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
