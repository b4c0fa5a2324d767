"""One trial, and the one state machine that makes trials of a journal's events.

The search itself, the live page, tables and reports all see a run through :class:`TrialLog`, so
that they cannot disagree. What the events mean together:

* Of two results for one chromosome the first stands. A result after a failure or a stop counts.
* ``measure`` is a further result that counts as well: metrics are the means of all measurements.
* ``again`` takes away what an earlier, stopped trial reported: a running trial has no metrics, and
  a half-trained network's must not pass for a result. What was expected of it stays, for the
  surrogate learned it.
* The first ``ask`` of a uid counts, later ones change nothing.
* Earlier and later are the order of the lines. A clock that is set back changes nothing but the
  dates; the search's own time, ``elapsed``, only grows.
* A result without its ``ask`` (a damaged line) is kept, but as ``failed``, with its metrics and the
  reason: nobody knows which parameters it belongs to, and a trial on the front with empty ones
  would be exported as the uncompressed network. Its uid stays taken.
* Metrics that are no finite numbers are left out, lines that make no sense are skipped.
* A ``final`` is a training to the end of a chromosome that has a result: no trial of the search.
  Its numbers are below 0. What such trainings come to says what is expected of all trials.

This module imports neither pandas nor NNI: the tuner's process uses it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ga.evaluation import (
    CENSORED,
    COMPLETE,
    FAILED,
    GREEDY,
    IMPORTED,
    RUNNING,
    Measurement,
    Status,
)
from ga.history.readings import pooled
from ga.problem.finite import as_finite, is_finite, shortened
from nni_plugin.protocol.json_types import JsonObject, Metrics
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import DEFAULT, UID
from nni_plugin.study.forecasts import Forecasts, forecast_metric
from nni_plugin.study.journal import DAMAGED, VERSION, parse
from nni_plugin.study.trial import FinalTrial, Trial

__all__ = ["FINAL", "FinalTrial", "Trial", "TrialLog", "is_uniform_int8"]

FINAL: tuple[Status, ...] = (COMPLETE, FAILED, CENSORED)
"""States of a trial that has ended; a censored one may run again."""

_AT_ONCE = 1 << 20
"""Bytes of a journal that are read and parsed at once."""

BASELINE = "baseline_"
"""How the metrics of the uncompressed float model begin."""

_ENDINGS: dict[str, Status] = {"tell": COMPLETE, "fail": FAILED, "censor": CENSORED}
_NO_ASK = "the journal's line that asked for it is damaged: its parameters are unknown"
# As journals of before the move into rooms spell them.
_OLD_ORIGINS = {"imported": IMPORTED, "ladder": GREEDY}


class TrialLog:
    """The trials of one journal; :meth:`refresh` follows the file, :meth:`apply` takes one event.

    Args:
        journal: the file's path; it may not be there yet.

    Attributes:
        trials: all trials by uid, in the order they were first mentioned.
        finals: the trainings to the end by their own numbers, likewise.
        forecasts: what these say of the trials; None while there is none.
        asked: how many trials were asked for, trainings to the end and reruns among them.
        objectives: ``{metric: "maximize" | "minimize"}`` of the latest start.
        constraints: as given to the tuner, ``{metric: "<= 256"}``.
        space: the NNI search space in force.
        class_args: the tuner's, as written in the config.
        stack: device, name and costs_version of what costs are of; None if there are none, or in
            journals of before.
        started: time of the first start event, in seconds since the epoch.
        ended: reason of the last ``end`` event; ``""`` while the search goes on.
        elapsed: seconds from the first line to the last one, by no clock that can be set; between
            two processes, and in journals of before, by dates where they go forward.
        measurements: number of further results of trials that had one.
        notes: what the search has met, in order.
    """

    def __init__(self, journal: str | Path) -> None:
        self.path = Path(journal)
        self.trials: dict[int, Trial] = {}
        self.finals: dict[int, FinalTrial] = {}
        self.forecasts: Forecasts | None = None
        self.asked = 0
        self.objectives: dict[str, str] = {}
        self.constraints: JsonObject = {}
        self.space: JsonObject = {}
        self.class_args: JsonObject = {}
        self.stack: JsonObject | None = None
        self.started: float | None = None
        self.ended = ""
        self.elapsed = 0.0
        self._date: float | None = None
        self._uptime: float | None = None
        self._offset = 0
        self._lines = 0
        # Each outcome moves its uid to the end; a replay depends on this order. A further
        # measurement is there by uid and its number among the trial's readings.
        self._order: dict[int | tuple[int, int], None] = {}
        self.measurements = 0
        self.notes: dict[str, None] = {}

    @classmethod
    def read(cls, journal: str | Path) -> TrialLog:
        """The log of a journal as it stands."""
        log = cls(journal)
        log.refresh()
        return log

    def refresh(self) -> list[Trial]:
        """Reads new lines and returns the trials they finished, in the order they finished."""
        if not self.path.exists():
            return []
        finished = []
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            while lines := stream.readlines(_AT_ONCE):
                events, taken = parse(b"".join(lines))
                self._offset += taken
                finished += [trial for event in events if (trial := self._read(event)) is not None]
        return finished

    def _read(self, event: Mapping[str, object] | None) -> Trial | None:
        """Takes the event of the next line, if it is one."""
        self._lines += 1
        if complaint := _complaint(event):
            logger.warning("%s, line %d is left out: %s", self.path, self._lines, complaint)
            return None
        return None if event is None else self.apply(event)

    def apply(self, event: Mapping[str, object]) -> Trial | None:
        """Takes one event; returns the trial that it finished, if it did."""
        kind = str(event.get("event"))
        self._pass_time(event, of_new_process=kind == "start")
        if kind == "start":
            self._start(event)
        elif kind == "space":
            self.space = _object(event, "space") or self.space
        elif kind == "end":
            self.ended = str(event.get("reason") or "ended")
        elif kind == "note":
            self.notes[str(event.get("text"))] = None
        else:
            return self._trial_event(kind, event)
        return None

    def _pass_time(self, event: Mapping[str, object], *, of_new_process: bool) -> None:
        date, uptime = _time(event), as_finite(event.get("uptime"))
        step = 0.0
        if not of_new_process and uptime is not None and self._uptime is not None:
            step = uptime - self._uptime
        elif date is not None and self._date is not None:
            step = date - self._date
        self.elapsed += max(0.0, step)
        self._date, self._uptime = self._date if date is None else date, uptime

    def _start(self, event: Mapping[str, object]) -> None:
        version = event.get("version")
        if isinstance(version, int) and version > VERSION:
            raise ValueError(
                f"{self.path} has version {version} of the journal, and this nni-joint-ga reads up "
                f"to {VERSION}: a newer one wrote it; upgrade, or use the one it was started with"
            )
        objectives = _object(event, "objectives")
        self.objectives = {n: str(mode) for n, mode in objectives.items()} or self.objectives
        self.constraints = _object(event, "constraints") or self.constraints
        self.space = _object(event, "space") or self.space
        self.class_args = _object(event, "class_args") or self.class_args
        # The first one's: a search keeps what it began with.
        self.stack = self.stack or _object(event, "stack") or None
        self.started = _time(event) if self.started is None else self.started
        self.ended = ""

    def _trial_event(self, kind: str, event: Mapping[str, object]) -> Trial | None:
        uid = event.get("uid")
        if not isinstance(uid, int) or isinstance(uid, bool):
            return None
        if kind == "final" or uid < 0:
            self._final_event(kind, uid, event)
            return None
        trial = self.trials.get(uid)
        if kind in ("ask", "import"):
            params = event.get("params")
            if trial is None and isinstance(params, dict):
                # One string for each gene, not one for each trial: megabytes after 10,000 trials.
                params = {sys.intern(gene): allele for gene, allele in params.items()}
                trial = self._enter(Trial(uid, params, asked=_time(event)))
                self.asked += kind == "ask"
                trial.origin = str(event.get("origin") or "")
                trial.origin = _OLD_ORIGINS.get(trial.origin, trial.origin)
                trial.costs = _finite(event["costs"]) if event.get("costs") is not None else None
                if kind == "import":
                    trial.origin, trial.asked = IMPORTED, None
                    return self._settle(trial, COMPLETE, event)
            return None
        if kind == "measure":
            self._measure(trial, event)
        if kind not in _ENDINGS and kind != "again":
            return None
        if trial is None:
            trial = self._enter(Trial(uid, {}, FAILED, reason=_NO_ASK, lost=True))
        if trial.status == COMPLETE:
            return None
        if kind == "again":
            self.asked += 1
            if not trial.lost:
                trial.status, trial.finished = RUNNING, None
                trial.metrics, trial.reason = {}, ""
            return None
        return self._settle(trial, _ENDINGS[kind], event)

    def _enter(self, trial: Trial) -> Trial:
        self.trials[trial.uid] = trial
        self._order[trial.uid] = None
        return trial

    def _final_event(self, kind: str, uid: int, event: Mapping[str, object]) -> None:
        run = self.finals.get(uid)
        if run is None:
            asked = FinalTrial.of_event(uid, event, self.trials, _time(event))
            if asked is not None:
                self.finals[uid] = asked
                self.asked += 1
        elif kind in _ENDINGS and run.status != COMPLETE:
            ended = self._settle(run, _ENDINGS[kind], event)
            metric = forecast_metric(self.objectives, self.class_args.get("final"))
            if ended.status == COMPLETE and metric in ended.metrics:
                self.forecasts = Forecasts(
                    metric, self.objectives.get(metric) != "minimize", self.trials, self.finals
                )
                self.forecasts.tell(self.trials.values())

    def _settle(self, trial: Trial, status: Status, event: Mapping[str, object]) -> Trial:
        trial.metrics = _finite(event.get("metrics"))
        trial.judged = status == FAILED and bool(event.get("trial"))
        trial.job_id = str(event.get("trial") or event.get("job") or "") or trial.job_id
        trial.finished, trial.elapsed = _time(event), self.elapsed
        if not trial.lost:
            trial.status = status
            trial.reason = str(event.get("reason") or "")
            expected = event.get("expected")
            trial.expected = None if expected is None else _finite(expected)
            trial.expects_end = self.forecasts is not None and self.forecasts.is_known
        if trial.uid in self._order:
            del self._order[trial.uid]
            self._order[trial.uid] = None
            if self.forecasts is not None:
                self.forecasts.tell([trial])
        return trial

    def _measure(self, trial: Trial | None, event: Mapping[str, object]) -> None:
        """A further result of a trial; nothing happens if it has no first one."""
        if trial is None or trial.status != COMPLETE:
            return
        trial.readings = (*(trial.readings or [trial.metrics]), _finite(event.get("metrics")))
        trial.metrics = pooled(trial.readings)
        self._order[trial.uid, len(trial.readings) - 1] = None
        self.measurements += 1
        if self.forecasts is not None:
            self.forecasts.tell([trial])

    # ---- views

    def told(self) -> list[Trial | Measurement]:
        """Trials in the order in which they ended, then running ones; and further measurements."""
        found: list[Trial | Measurement] = []
        for key in self._order:
            if isinstance(key, tuple):
                found.append(Measurement(key[0], dict(self.trials[key[0]].readings[key[1]])))
            elif self.trials[key].status in FINAL:
                found.append(self.trials[key])
        return found + self.running()

    def finished(self, *statuses: Status) -> list[Trial]:
        """Trials in one of ``statuses`` (by default: all that ended), in the order they ended."""
        wanted = statuses or FINAL
        ordered = (self.trials[uid] for uid in self._order if isinstance(uid, int))
        return [trial for trial in ordered if trial.status in wanted]

    def running(self) -> list[Trial]:
        """Trials without an outcome, in the order they were asked for."""
        return self.finished(RUNNING)

    def counts(self) -> dict[Status, int]:
        """Number of trials by status; every status is a key."""
        result = dict.fromkeys((*FINAL, RUNNING), 0)
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
            names.update(trial.shown)
        names = {n for n in names if n != UID and not n.startswith(BASELINE)}
        complete = [t.metrics for t in self.trials.values() if t.status == COMPLETE]
        if DEFAULT not in self.objectives and any(
            complete and all(m.get(n) == m.get(DEFAULT) for m in complete)
            for n in names - {DEFAULT}
        ):
            names.discard(DEFAULT)
        first = [n for n in self.objectives if n in names]
        return first + sorted(names - set(first))

    def baseline(self) -> Metrics:
        """Metrics of the uncompressed float model (``baseline_<metric>`` keys of the trials)."""
        for trial in reversed(list(self.trials.values())):
            found = {
                key.removeprefix(BASELINE): value
                for key, value in trial.metrics.items()
                if key.startswith(BASELINE)
            }
            if found:
                return found
        return {}

    def finalists(self) -> list[Trial]:
        """The trials with a finalist's training that has a result, best expected value first."""
        uids = {r.of for r in self.finals.values() if r.is_finalist and r.status == COMPLETE}
        found = [t for uid, t in self.trials.items() if uid in uids and t.forecast is not None]
        fewer = any(
            self.objectives.get(t.forecast.metric) == "minimize" for t in found if t.forecast
        )
        return sorted(
            found, key=lambda t: t.forecast.value if t.forecast else 0.0, reverse=not fewer
        )

    def uniform_int8(self) -> Trial | None:
        """The evaluated trial that prunes nothing and puts 8 bits everywhere, if there is one."""
        for trial in self.trials.values():
            if trial.status == COMPLETE and is_uniform_int8(trial.params):
                return trial
        return None


def is_uniform_int8(params: Mapping[str, object]) -> bool:
    """Whether ``params`` is the network as it stands in int8: nothing compressed, 8-bit genes."""
    # Imported here: the tuner's process needs the log before anything of the hardware.
    from hardware.ir.gene_kinds import A_BITS, W_BITS, kind_of

    kinds = {name: kind_of(name) for name in params}
    neutral = all(kind is None or kind.is_neutral(params[n]) for n, kind in kinds.items())
    return neutral and any(kind in (W_BITS, A_BITS) for kind in kinds.values())


def _complaint(event: Mapping[str, object] | None) -> str | None:
    """What is wrong with a line of the journal; None if nothing is."""
    if event is None:
        return DAMAGED
    kind, uid = event["event"], event.get("uid")
    if not isinstance(kind, str):
        return f"its event is {shortened(kind)}, which is no text"
    if kind in ("ask", "import", "again", "measure", "final") or kind in _ENDINGS:
        if not isinstance(uid, int) or isinstance(uid, bool):
            return f"its uid is {shortened(uid)}, which is no whole number"
        if kind in ("ask", "import") and not isinstance(event.get("params"), dict):
            return f"the params of uid {uid} are {shortened(event.get('params'))}, which is no dict"
    return None


def _object(event: Mapping[str, object], key: str) -> JsonObject:
    """A field that should hold a JSON object; an empty one where it doesn't."""
    value = event.get(key)
    return dict(value) if isinstance(value, dict) else {}


def _time(event: Mapping[str, object]) -> float | None:
    return as_finite(event.get("time"))


def _finite(metrics: object) -> Metrics:
    """The usable part of a trial's metrics: numbers that are finite."""
    if not isinstance(metrics, dict):
        metrics = {DEFAULT: metrics}
    return {str(key): value for key, value in metrics.items() if is_finite(value)}
