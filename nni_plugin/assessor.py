"""An NNI assessor that stops trials which can't reach the Pareto front any more."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nni.assessor import Assessor, AssessResult

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.gain_bands import Seen
from ga.early_stopping.policies import POLICIES, Policy
from nni_plugin import tuner
from nni_plugin.protocol.callbacks import guarded
from nni_plugin.protocol.metrics import UID, is_number, reported_uid
from nni_plugin.study.journal import Journal, read

logger = logging.getLogger("nni.joint_ga")

FILE_NAME = "rungs.jsonl"


def parse(class_args: Mapping[str, Any]) -> tuple[Policy, float]:
    """The policy and the share of spared trials behind a config's ``classArgs``.

    Raises:
        TypeError: An argument doesn't exist; the message lists those that do.
        ValueError: An argument's value can't be used.
    """
    args = dict(class_args)
    name = args.pop("policy", "gain")
    # What `promise` stops may run again: there is no need to spare some to see what is lost.
    spared = args.pop("spared", 0.0 if name == "promise" else 0.1)
    if name not in POLICIES:
        raise ValueError(f"policy={name!r} (allowed: {', '.join(POLICIES)})")
    if not is_number(spared) or not 0.0 <= spared <= 1.0:
        raise ValueError(f"spared={spared!r} should be a share between 0 and 1")
    try:
        return POLICIES[name](**args), float(spared)
    except TypeError as error:
        own = {"gain": ", risk", "halving": ", eta, first"}.get(name, "")
        raise TypeError(f"policy '{name}': {error} (allowed: policy, spared{own})") from error


class ParetoAssessor(Assessor):  # type: ignore[misc]  # NNI has no types
    """Stops trials on what they report on their way; works with ``JointGATuner``.

    Trials report dicts with their ``uid`` and all objectives; known costs have their final values
    from the first report on. What is stopped reaches the tuner as a censored result, never as a
    final one; with it goes what its end would probably have been, for the surrogate only.

    Args:
        policy: ``gain`` (see ``stopping.GainBound``), ``halving`` (``stopping.Halving``) or
            ``promise`` (``stopping.Promise``, whose stopped trials may run again).
        risk: With ``gain``: bound on the probability of stopping a trial that would have reached
            the front.
        eta: With ``halving``: one in ``eta`` goes on.
        first: With ``halving``: reports before the first decision.
        spared: Share of the trials that would be stopped and are let run, to see what became of
            them; 0.1, with ``promise`` 0. They are drawn by their ``uid``.

    Raises:
        TypeError: An argument is unknown.
        ValueError: An argument's value can't be used.
    """

    def __init__(self, **class_args: Any) -> None:
        try:
            self.policy, self.spared = parse(class_args)
        except Exception as error:
            logger.error("ParetoAssessor cannot start: %s", error)
            raise
        self.lock = threading.RLock()
        self._dispatcher: Any = None
        self._paths: dict[int, list[dict[str, float]]] = {}
        self._elapsed: dict[int, list[float]] = {}
        self._stopped: dict[int, int] = {}
        self._let_run: set[int] = set()
        self._trials: dict[int, str] = {}
        self._uids: dict[str, int] = {}
        self._complained: set[str] = set()
        self._journal: Journal | None = None

    @guarded
    def assess_trial(self, trial_job_id: str, trial_history: Sequence[Any]) -> AssessResult:
        """Whether a trial goes on, after each of its reports."""
        search = tuner.running_tuner()
        if search is None:
            raise RuntimeError("ParetoAssessor works with JointGATuner: name that as the tuner")
        with search.lock:
            study = search.study
            search.stopped_again = self._again
            uid = reported_uid(trial_history[-1])
            if uid not in study.trials:
                self._complain("a trial's reports hold no uid of this search: it is never stopped")
                return AssessResult.Good
            assert uid is not None
            path = self._note(trial_job_id, uid, trial_history, search)
            if path is None or uid in self._stopped or uid in self._let_run:
                return AssessResult.Good
            seen = self._seen(study)
            reason = self.policy.reason(uid, seen)
            if reason is None:
                return AssessResult.Good
            rung = len(path)
            if self._spares(uid):
                logger.info(
                    "uid %d would be stopped at rung %d (%s) but is spared", uid, rung, reason
                )
                self._let_run.add(uid)
                self._write("spare", uid=uid, rung=rung, reason=reason)
                return AssessResult.Good
            self._stopped[uid] = rung
            self._write("stop", uid=uid, rung=rung, reason=reason)
            guess = self.policy.expected(uid, seen)
            expected = None if guess is None else dict(guess)
            search.expect_stop(uid, StopDecision(dict(path[-1]), rung, reason, expected))
            return AssessResult.Bad

    def _note(
        self, trial: str, uid: int, history: Sequence[Any], search: tuner.JointGATuner
    ) -> list[dict[str, float]] | None:
        """Bring a trial's path up to date; None if its reports can't be compared."""
        if self._uids.setdefault(trial, uid) != uid or any(reported_uid(r) != uid for r in history):
            self._complain(f"trial {trial} reports for several uids: it is never stopped")
            return None
        path = self._path(uid, trial)
        for report in history[len(path) :]:
            numbers = {n: float(x) for n, x in report.items() if n != UID and is_number(x)}
            missing = [name for name in search.args.objectives if name not in numbers]
            if missing:
                self._complain(
                    f"reports on the way lack {', '.join(missing)}: such trials are never stopped"
                )
                return None
            path.append(numbers)
            seconds = round(time.monotonic() - search.sent.get(uid, time.monotonic()), 3)
            self._elapsed.setdefault(uid, []).append(seconds)
            self._write("rung", uid=uid, metrics=numbers, trial=trial, seconds=seconds)
        return path

    def _path(self, uid: int, trial: str) -> list[dict[str, float]]:
        """What a chromosome's trial reported; a chromosome that is asked again starts anew."""
        if self._trials.setdefault(uid, trial) != trial:
            self._trials[uid] = trial
            self._paths[uid], self._elapsed[uid] = [], []
        return self._paths.setdefault(uid, [])

    def _seen(self, study: Any) -> Seen:
        optimizer = study.optimizer
        return Seen(
            optimizer.objectives,
            optimizer.constraints,
            self._paths,
            {r.uid: r.metrics for r in study.finished() if r.status == "complete"},
            [evaluation.metrics for evaluation in optimizer.front()],
            self._elapsed,
            lambda uids: optimizer.outlooks(self._paths, uids),
        )

    def _again(self, new: bool) -> int | None:
        """A stopped trial's chromosome that should run after all, if there are new ones or not."""
        search = tuner.running_tuner()
        if search is None:
            return None
        records = search.study.trials
        stopped = [uid for uid in self._stopped if records[uid].status == "censored"]
        seen = self._seen(search.study)
        uid = self.policy.again(stopped, seen, new=new) if stopped else None
        if uid is not None:
            logger.info("uid %d was stopped at rung %d and runs again", uid, self._stopped[uid])
        return uid

    def _spares(self, uid: int) -> bool:
        # By number and not by chance, so that a resumed search spares the same ones.
        return int((uid + 1) * self.spared) > int(uid * self.spared)

    def summary(self) -> str:
        """What was stopped, and what became of the trials that were spared."""
        search = tuner.running_tuner()
        text = f"stopped {len(self._stopped)} of {len(self._paths)} trials that reported"
        risk = getattr(self.policy, "risk", None)
        if risk is not None:
            text += f" (risk for each at most {risk:g}, if trials are alike)"
        if search is not None and self._let_run:
            front = {evaluation.id for evaluation in search.study.optimizer.front()}
            text += (
                f"; of {len(self._let_run)} that were spared {len(front & self._let_run)} are on "
                "the front"
            )
        if search is not None:
            records = search.study.trials
            again = [uid for uid in self._stopped if records[uid].status == "complete"]
            if again:
                text += f"; {len(again)} of the stopped ones ran to their ends after all"
        return text

    # ---- what outlives a restart

    def load_checkpoint(self) -> None:
        """Called by NNI on resume."""
        for event in read(self._file):
            uid = event.get("uid", -1)
            if event["event"] == "rung":
                self._path(uid, event["trial"]).append(event["metrics"])
                self._elapsed.setdefault(uid, []).append(event.get("seconds", 0.0))
            elif event["event"] == "stop":
                self._stopped[uid] = event["rung"]
            elif event["event"] == "spare":
                self._let_run.add(uid)

    @property
    def _file(self) -> Path:
        return Path(os.environ.get("NNI_CHECKPOINT_DIRECTORY", ".")) / FILE_NAME

    def _write(self, event: str, **fields: Any) -> None:
        if self._journal is None:
            self._journal = Journal(self._file)
        self._journal.append(event, **fields)

    def _complain(self, message: str) -> None:
        if message not in self._complained:
            self._complained.add(message)
            logger.warning("ParetoAssessor: %s", message)

    def _failed(self, message: str) -> None:
        self._complain(message)

    def _on_exit(self) -> None:
        logger.info("ParetoAssessor: %s", self.summary())
        if self._journal is not None:
            self._journal.close()
