"""The loop between a search and an engine, in place of NNI's manager and its protocol."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ga
from ga.early_stopping.decision import StopDecision
from ga.evaluation import RUNNING
from nni_plugin.engines.engine import (
    Ended,
    Engine,
    EngineError,
    Event,
    Final,
    Job,
    Note,
    Reported,
    job_name,
    jobs_of,
    trials_folder,
)
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import DEFAULT, UID
from nni_plugin.results.engine_record import JobRecord, JobRecords
from nni_plugin.study.early_stopping import EarlyStopping
from nni_plugin.study.journal import read
from nni_plugin.study.study import Study
from nni_plugin.study.trial import FinalTrial
from nni_plugin.study.trial_log import Trial

__all__ = ["Budget", "Driver", "Outcome"]

_WAIT_S = 0.25
_ATTEMPTS = 3
"""Of a chromosome whose trials are killed from outside: the third end is its failure."""
_NO_RESULT = "the trial ended without a final result"
_OUTCOMES = ("tell", "fail", "censor")


@dataclass(frozen=True)
class Budget:
    """What an experiment may take in all, its earlier runs included.

    Attributes:
        trials: NNI's ``maxTrialNumber``; None for no limit.
        seconds: NNI's ``maxExperimentDuration``; the time between two runs does not count.
    """

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: ``DONE``, ``INTERRUPTED`` or ``ERROR``.
        reason: why nothing more was asked, as in the journal.
        error: what went wrong, for whom it may be raised.
    """

    status: str
    reason: str
    error: Exception | None = None


@dataclass
class _Running:
    job: Job
    uid: int
    started: float
    history: list[object] = field(default_factory=list)
    stopping: StopDecision | None = None


class Driver:
    """Asks, starts, tells, until the search, the budget or the user says that it is over.

    Args:
        study: the search; trials without a result are asked again.
        engine: runs the trials.
        folder: the experiment's.
        concurrency: how many trials run at once.
        budget: of the experiment.
        stopping: early stopping; None for none.
        config: the experiment's, for the limits of trials.
        changed: called after each step of the journal.
        say: told what a user should know, a sentence at a time.
    """

    def __init__(
        self,
        study: Study,
        engine: Engine,
        folder: Path,
        concurrency: int = 1,
        budget: Budget | None = None,
        stopping: EarlyStopping | None = None,
        config: Settings | None = None,
        changed: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        self.study = study
        self.engine = engine
        self.concurrency = concurrency
        self.budget = budget or Budget()
        self._stopping = stopping
        self._config = config or {}
        self._changed = changed
        self.say = say
        self._trials = trials_folder(folder)
        self._records = JobRecords(folder)
        self._sequence = sum(1 for _ in JobRecords.read(folder))
        self._running: dict[str, _Running] = {}
        self._again: deque[int] = deque()
        self._losses: dict[int, int] = {}
        self._sent: dict[int, float] = {}
        self._limits: Limits | None = None
        self._done, self._spent_s = _so_far(study.log.path)
        self._began = time.monotonic()
        self._is_interrupted = False
        self._take_up()

    # ---- resume

    def _take_up(self) -> None:
        """Trials without a result: one that reported it while nobody listened is told now."""
        if self._stopping is not None:
            self._stopping.load(list(self.study.args.objectives))
        for trial in [*self.study.running(), *self.study.finals.running()]:
            found = self.engine.final_result(trial.uid)
            if found is None:
                self._again.append(trial.uid)
            else:
                self._tell(trial.uid, found[1], found[0], replayed=True)

    # ---- the loop

    def interrupt(self) -> None:
        """Has :meth:`run` end soon; may be called from a signal's handler."""
        self._is_interrupted = True

    def run(self, step: Callable[[], None] = lambda: None) -> Outcome:
        """Runs until the end; what is in flight then is asked again by the next run.

        Args:
            step: called a few times a second.

        Returns:
            How it ended. The journal says the same; study and engine stay the caller's to close.
        """
        outcome = Outcome("ERROR", "error")
        try:
            outcome = self._loop(step)
        except (EngineError, ValueError, OSError) as error:
            outcome = Outcome("ERROR", "error", error)
        except KeyboardInterrupt:
            outcome = Outcome("INTERRUPTED", "stopped")
        finally:
            self._records.close()
            self.study.end(outcome.reason, str(outcome.error) if outcome.error else None)
            self._changed()
        return outcome

    def _loop(self, step: Callable[[], None]) -> Outcome:
        reason = self._fill()
        while not self._is_interrupted:
            step()
            if not self._running:
                assert reason is not None, "an engine with a free place takes a trial"
                return Outcome("DONE", reason)
            events = self.engine.events(_WAIT_S)
            for event in events:
                self._take(event)
            if self._is_out_of_time():
                return Outcome("DONE", "duration")
            if any(isinstance(event, Ended) for event in events):
                reason = self._fill()
        return Outcome("INTERRUPTED", "stopped")

    def _is_out_of_time(self) -> bool:
        limit = self.budget.seconds
        return limit is not None and self._spent_s + time.monotonic() - self._began >= limit

    # ---- what runs next

    def _fill(self) -> str | None:
        """Starts trials while there is room; returns why there are no more, None if it is full."""
        self._limit()
        while len(self._running) < self.concurrency:
            trial = self._asked_again()
            if trial is None:
                planned = self.budget.trials
                if planned is not None and self._done + len(self._running) >= planned:
                    return "budget"
                trial, reason = self._next()
                if trial is None:
                    return reason
            self._start(trial)
        return None

    def _asked_again(self) -> Trial | None:
        while self._again:
            trial = self.study.run_of(self._again.popleft())
            if trial is not None and trial.status == RUNNING:
                return trial
        return None

    def _next(self) -> tuple[Trial | None, str]:
        """What is run next, or why there is nothing.

        The order is that of the tuner in NNI: a training to the end that is due, a stopped
        chromosome that promises more than a new one, a new one.
        """
        finals, planned = self.study.finals, self.budget.trials
        if (due := finals.ask(planned)) is not None:
            return due, ""
        reason = self.study.is_over()
        if reason is not None:
            return finals.ask(planned, over=True), reason
        try:
            return self._revived(new=True) or self.study.ask(), ""
        except ga.SpaceExhausted as error:
            logger.info("%s", error)
            return self._revived(new=False) or finals.ask(planned, over=True), "exhausted"

    def _revived(self, *, new: bool) -> Trial | None:
        uid = None if self._stopping is None else self._stopping.again(self.study, new=new)
        return None if uid is None else self.study.reopen(uid)

    def _start(self, trial: Trial) -> None:
        job = Job(
            job_name(trial.uid, len(jobs_of(self._trials, trial.uid))),
            self._sequence,
            {**trial.params, UID: trial.uid},
        )
        self._sequence += 1
        if isinstance(trial, FinalTrial):
            self._limit()  # it takes longer than any before
        self._sent[trial.uid] = time.monotonic()
        self._running[job.id] = _Running(job, trial.uid, time.time())
        self.engine.start(job)
        self._changed()

    def _limit(self) -> None:
        limits = self.study.args.limits().in_force(self._config, self.study.log)
        if limits != self._limits:
            self._limits = limits
            self.engine.limit(limits)

    # ---- what comes back

    def _take(self, event: Event) -> None:
        if isinstance(event, Note):
            self.say(event.text)
            return
        running = self._running.get(event.job)
        if running is None:
            return
        if isinstance(event, Reported):
            self._assess(running, event.value)
        elif isinstance(event, Final):
            self._tell(running.uid, event.value, running.job.id)
        else:
            self._end(running, event)

    def _assess(self, running: _Running, value: object) -> None:
        if self._stopping is None or running.stopping is not None:
            return
        metrics = value if isinstance(value, dict) else {DEFAULT: value}
        running.history.append({**metrics, UID: running.uid})
        decision = self._stopping.assess(self.study, running.job.id, running.history, self._sent)
        if decision is not None:
            running.stopping = decision
            self.engine.stop(running.job.id)

    def _tell(self, uid: int, value: object, job: str, *, replayed: bool = False) -> None:
        was_open = self._is_open(uid)
        self.study.tell(uid, value, job, replayed=replayed)
        self._done += was_open and not self._is_open(uid)
        self._changed()

    def _end(self, running: _Running, end: Ended) -> None:
        del self._running[running.job.id]
        uid, job = running.uid, running.job.id
        is_open = self._is_open(uid)
        if is_open and end.is_lost and self._is_worth_another(uid, end):
            self._again.append(uid)
            return
        self._records.note(
            JobRecord(job, uid, _status(running, end), running.started, time.time(), end.node)
        )
        if not is_open:
            return
        self._done += 1
        if running.stopping is not None:
            self.study.censor(uid, running.stopping, job)
        else:
            self.study.fail(uid, end.reason or _NO_RESULT, job)
        self._changed()

    def _is_open(self, uid: int) -> bool:
        """Whether a trial, or a training to the end, has no outcome."""
        run = self.study.run_of(uid)
        return run is not None and run.status == RUNNING

    def _is_worth_another(self, uid: int, end: Ended) -> bool:
        """Whether a chromosome whose trial was taken away is tried again, and not given up."""
        self._losses[uid] = self._losses.get(uid, 0) + 1
        if self._losses[uid] >= _ATTEMPTS:
            return False
        self.say(f"uid {uid} lost its trial ({end.reason}): it runs again.")
        return True


def _status(running: _Running, end: Ended) -> str:
    """NNI's word for how a job ended."""
    if running.stopping is not None:
        return "EARLY_STOPPED"
    return "SUCCEEDED" if end.reason is None else "FAILED"


def _so_far(journal: Path) -> tuple[int, float]:
    """How many trials of earlier runs have ended, and how many seconds those runs took."""
    done, seconds, latest = 0, 0.0, 0.0
    for event in read(journal):
        if event["event"] == "start":
            seconds, latest = seconds + latest, 0.0
        latest = float(event.get("uptime") or 0.0)
        done += event["event"] in _OUTCOMES
    return done, seconds
