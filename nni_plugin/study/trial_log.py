"""One trial, and the one state machine that makes trials of a journal's events.

The search itself, the live page, tables and reports all see a run through :class:`TrialLog`, so
that they cannot disagree. What the events mean together:

* Of two results for one chromosome the first stands. A result after a failure or a stop counts.
* ``again`` takes away what an earlier, stopped trial reported: a running trial has no metrics, and
  a half-trained network's must not pass for a result. What was expected of it stays, for the
  surrogate learned it.
* The first ``ask`` of a uid counts, later ones change nothing.
* A result without its ``ask`` (a damaged line) is kept, but as ``failed``, with its metrics and the
  reason: nobody knows which parameters it belongs to, and a trial on the front with empty ones
  would be exported as the uncompressed network. Its uid stays taken.
* Metrics that are no finite numbers are left out, lines that make no sense are skipped.

This module imports neither pandas nor NNI: the tuner's process uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ga.evaluation import CENSORED, COMPLETE, FAILED, GREEDY, IMPORTED, RUNNING, Evaluation, Status
from ga.problem.finite import as_finite, is_finite, shortened
from nni_plugin.protocol.json_types import JsonObject, Metrics, Params
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import DEFAULT, UID
from nni_plugin.study.journal import VERSION, parse

__all__ = ["FINAL", "Trial", "TrialLog", "is_uniform_int8"]

FINAL: tuple[Status, ...] = (COMPLETE, FAILED, CENSORED)
"""States of a trial that has ended; a censored one may run again."""

BASELINE = "baseline_"
"""How the metrics of the uncompressed float model begin."""

_ENDINGS: dict[str, Status] = {"tell": COMPLETE, "fail": FAILED, "censor": CENSORED}
_NO_ASK = "the journal's line that asked for it is damaged: its parameters are unknown"
# As journals of before the move into rooms spell them.
_OLD_ORIGINS = {"imported": IMPORTED, "ladder": GREEDY}


@dataclass
class Trial:
    """One chromosome from the ask to the report.

    Attributes:
        uid: the chromosome's number, unique within an experiment.
        params: the trial's parameters, without ``uid``.
        status: of ``ga.evaluation``: ``running`` until there is an outcome.
        metrics: final ones (``complete``), the last intermediate ones (``censored``), or none.
        reason: why it failed or was stopped.
        origin: how the optimizer came to it; ``import`` if it came from outside.
        job_id: NNI's id of its trial job, where known.
        costs: the metrics that were known before the trial.
        expected: what the final metrics of a stopped trial would probably have been.
        asked: when it was first asked for, in seconds since the epoch.
        finished: when it ended, likewise.
        lost: whether its parameters are unknown, see above.
    """

    uid: int
    params: Params
    status: Status = RUNNING
    metrics: Metrics = field(default_factory=dict)
    reason: str = ""
    origin: str = ""
    job_id: str | None = None
    costs: Metrics | None = field(default=None, repr=False)
    expected: Metrics | None = None
    asked: float | None = None
    finished: float | None = None
    lost: bool = False

    def evaluation(self) -> Evaluation:
        """The trial as the optimizer knows it."""
        return Evaluation(
            self.uid,
            self.params,
            self.metrics if self.status == COMPLETE else (self.metrics or None),
            self.status,
            self.origin,
            self.reason,
            self.expected,
        )


class TrialLog:
    """The trials of one journal; :meth:`refresh` follows the file, :meth:`apply` takes one event.

    Args:
        journal: the file's path; it may not be there yet.

    Attributes:
        trials: all trials by uid, in the order they were first mentioned.
        objectives: ``{metric: "maximize" | "minimize"}`` of the latest start.
        constraints: as given to the tuner, ``{metric: "<= 256"}``.
        space: the NNI search space in force.
        class_args: the tuner's, as written in the config.
        started: time of the first start event, in seconds since the epoch.
        ended: reason of the last ``end`` event; ``""`` while the search goes on.
    """

    def __init__(self, journal: str | Path) -> None:
        self.path = Path(journal)
        self.trials: dict[int, Trial] = {}
        self.objectives: dict[str, str] = {}
        self.constraints: JsonObject = {}
        self.space: JsonObject = {}
        self.class_args: JsonObject = {}
        self.started: float | None = None
        self.ended = ""
        self._offset = 0
        self._lines = 0
        # Each outcome moves its uid to the end; a replay depends on this order.
        self._order: dict[int, None] = {}

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
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            events, taken = parse(stream.read())
        self._offset += taken
        finished = []
        for event in events:
            self._lines += 1
            if complaint := _complaint(event):
                logger.warning("%s, line %d is left out: %s", self.path, self._lines, complaint)
            elif event is not None and (trial := self.apply(event)) is not None:
                finished.append(trial)
        return finished

    def apply(self, event: Mapping[str, object]) -> Trial | None:
        """Takes one event; returns the trial that it finished, if it did."""
        kind = str(event.get("event"))
        if kind == "start":
            self._start(event)
        elif kind == "space":
            self.space = _object(event, "space") or self.space
        elif kind == "end":
            self.ended = str(event.get("reason") or "ended")
        else:
            return self._trial_event(kind, event)
        return None

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
        self.started = _time(event) if self.started is None else self.started
        self.ended = ""

    def _trial_event(self, kind: str, event: Mapping[str, object]) -> Trial | None:
        uid = event.get("uid")
        if not isinstance(uid, int) or isinstance(uid, bool):
            return None
        trial = self.trials.get(uid)
        if kind in ("ask", "import"):
            params = event.get("params")
            if trial is None and isinstance(params, dict):
                trial = self._enter(Trial(uid, params, asked=_time(event)))
                trial.origin = str(event.get("origin") or "")
                trial.origin = _OLD_ORIGINS.get(trial.origin, trial.origin)
                trial.costs = _finite(event["costs"]) if event.get("costs") is not None else None
                if kind == "import":
                    trial.origin, trial.asked = IMPORTED, None
                    return self._settle(trial, COMPLETE, event)
            return None
        if kind not in _ENDINGS and kind != "again":
            return None
        if trial is None:
            trial = self._enter(Trial(uid, {}, FAILED, reason=_NO_ASK, lost=True))
        if trial.status == COMPLETE:
            return None
        if kind == "again":
            if not trial.lost:
                trial.status, trial.finished = RUNNING, None
                trial.metrics, trial.reason = {}, ""
            return None
        return self._settle(trial, _ENDINGS[kind], event)

    def _enter(self, trial: Trial) -> Trial:
        self.trials[trial.uid] = trial
        self._order[trial.uid] = None
        return trial

    def _settle(self, trial: Trial, status: Status, event: Mapping[str, object]) -> Trial:
        trial.metrics = _finite(event.get("metrics"))
        trial.job_id = str(event.get("trial") or "") or trial.job_id
        trial.finished = _time(event)
        if not trial.lost:
            trial.status = status
            trial.reason = str(event.get("reason") or "")
            expected = event.get("expected")
            trial.expected = None if expected is None else _finite(expected)
        del self._order[trial.uid]
        self._order[trial.uid] = None
        return trial

    # ---- views

    def finished(self, *statuses: Status) -> list[Trial]:
        """Trials in one of ``statuses`` (by default: all that ended), in the order they ended."""
        wanted = statuses or FINAL
        ordered = (self.trials[uid] for uid in self._order)
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
            names.update(trial.metrics)
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
        return "it is no JSON object with an event (cut off while it was written, or damaged)"
    kind, uid = event["event"], event.get("uid")
    if not isinstance(kind, str):
        return f"its event is {shortened(kind)}, which is no text"
    if kind in ("ask", "import", "again") or kind in _ENDINGS:
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
