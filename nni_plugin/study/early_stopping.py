"""Early stopping of a search's trials: curves, decisions, and the file that they are kept in.

Needs neither NNI nor its protocol: the assessor hands it what NNI tells, an engine's driver what
its trials report.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.policies import ALIASES, DEFAULT, POLICIES, RETIRED
from ga.early_stopping.policy import Policy, SearchState
from ga.evaluation import CENSORED, COMPLETE
from ga.problem.finite import shortened
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import UID, is_finite, reported_uid
from nni_plugin.study.journal import Event, Journal, numbered
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import Trial

FILE_NAME = "rungs.jsonl"

# A choice: enough to see what is lost, and little training spent on it.
_SPARED = 0.1


def retired(class_args: Mapping[str, object]) -> str | None:
    """What takes the place of a policy that a config names and that went; None if it names none.

    Args:
        class_args: the assessor's, as in the config.
    """
    # `gain` was the default, and the only policy with a risk.
    name = class_args.get("policy", "gain" if "risk" in class_args else DEFAULT)
    if not isinstance(name, str) or name not in RETIRED:
        return None
    ignored = " ('risk' has no meaning for it)" if "risk" in class_args else ""
    return f"policy '{name}' runs as '{DEFAULT}'{ignored}: {RETIRED[name]}"


def parse(class_args: Mapping[str, object]) -> tuple[Policy, float]:
    """The policy and the share of spared trials behind a config's ``classArgs``.

    Raises:
        TypeError: an argument doesn't exist; the message lists those that do.
        ValueError: an argument's value can't be used.
    """
    args = dict(class_args)
    given = args.pop("policy", DEFAULT)
    if retired(class_args) is not None:
        args.pop("risk", None)
        given = DEFAULT
    name = ALIASES.get(given, given) if isinstance(given, str) else ""
    if name not in POLICIES:
        raise ValueError(f"policy={given!r} (allowed: {', '.join(POLICIES)})")
    # What reservation values stop may run again: no need to spare some to see what is lost.
    spared = args.pop("spared", 0.0 if name == DEFAULT else _SPARED)
    if not is_finite(spared) or not 0.0 <= spared <= 1.0:
        raise ValueError(f"spared={spared!r} should be a share between 0 and 1")
    try:
        return POLICIES[name](**args), float(spared)
    except TypeError as error:
        own = ", eta, first" if name == "successive_halving" else ""
        raise TypeError(f"policy '{given}': {error} (allowed: policy, spared{own})") from error


class EarlyStopping:
    """Which of a search's trials are stopped, and which of those run again.

    Args:
        class_args: the assessor's, as in a config, see ``nni_plugin.assessor.ParetoAssessor``.
        file: ``rungs.jsonl``, to which all is appended.

    Raises:
        TypeError: an argument is unknown.
        ValueError: an argument's value can't be used.
    """

    def __init__(self, class_args: Mapping[str, object], file: Path) -> None:
        self.policy, self.spared = parse(class_args)
        note = retired(class_args)
        if note is not None:
            logger.warning("ParetoAssessor: %s", note)
        self.file = file
        self._curves: dict[int, list[dict[str, float]]] = {}
        self._elapsed: dict[int, list[float]] = {}
        self._stopped: dict[int, int] = {}
        self._let_run: set[int] = set()
        self._trials: dict[int, str] = {}
        self._uids: dict[str, int] = {}
        self._complained: set[str] = set()
        self._journal: Journal | None = None

    def assess(
        self, study: Study, trial: str, history: Sequence[object], sent: Mapping[int, float]
    ) -> StopDecision | None:
        """Why a trial is to be stopped after its latest report; None if it goes on.

        Args:
            study: whose trial it is.
            trial: the trial job's id.
            history: all that it has reported, the latest last.
            sent: when each chromosome was last sent to a trial, by ``time.monotonic``.
        """
        uid = reported_uid(history[-1])
        if uid in study.log.finals:
            return None  # it is to be trained to its end
        if uid not in study.trials:
            self._complain("a trial's reports hold no uid of this search: it is never stopped")
            return None
        assert uid is not None
        curve = self._note(trial, uid, history, study, sent)
        if curve is None or uid in self._stopped or uid in self._let_run:
            return None
        decision = self.policy.decide(uid, self._state(study))
        if decision is None:
            return None
        if self._spares(uid):
            self._spare(uid, decision)
            return None
        self._stopped[uid] = decision.rung
        self._write("stop", uid=uid, rung=decision.rung, reason=decision.reason)
        return decision

    def again(self, study: Study, *, new: bool) -> int | None:
        """A stopped trial's chromosome that should run after all; None if there is none.

        Args:
            study: whose trials they are.
            new: whether there are new chromosomes that could run instead.
        """
        stopped = [uid for uid, trial in self._known(study.trials) if trial.status == CENSORED]
        state = self._state(study)
        uid = self.policy.reopen(stopped, state, new=new) if stopped else None
        if uid is not None:
            logger.info("uid %d was stopped at rung %d and runs again", uid, self._stopped[uid])
        return uid

    def close(self) -> None:
        """Closes the file."""
        if self._journal is not None:
            with contextlib.suppress(OSError):  # said when it could not be written
                self._journal.close()

    def _spare(self, uid: int, decision: StopDecision) -> None:
        rung, reason = decision.rung, decision.reason
        logger.info("uid %d would be stopped at rung %d (%s) but is spared", uid, rung, reason)
        self._let_run.add(uid)
        self._write("spare", uid=uid, rung=rung, reason=reason)

    def _note(
        self,
        trial: str,
        uid: int,
        history: Sequence[object],
        study: Study,
        sent: Mapping[int, float],
    ) -> list[dict[str, float]] | None:
        """Brings a trial's learning curve up to date; None if its reports can't be compared."""
        if self._uids.setdefault(trial, uid) != uid or any(reported_uid(r) != uid for r in history):
            self._complain(f"trial {trial} reports for several uids: it is never stopped")
            return None
        curve = self._curve(uid, trial)
        for report in history[len(curve) :]:
            reported = report.items() if isinstance(report, Mapping) else ()
            numbers = {n: float(x) for n, x in reported if n != UID and is_finite(x)}
            missing = [name for name in study.args.objectives if name not in numbers]
            if missing:
                self._complain(
                    f"reports on the way hold no finite number for {', '.join(missing)}: such "
                    "trials are never stopped"
                )
                return None
            curve.append(numbers)
            seconds = round(time.monotonic() - sent.get(uid, time.monotonic()), 3)
            self._elapsed.setdefault(uid, []).append(seconds)
            self._write("rung", uid=uid, metrics=numbers, trial=trial, seconds=seconds)
        return curve

    def _curve(self, uid: int, trial: str) -> list[dict[str, float]]:
        """What a chromosome's trial reported; a chromosome that is asked again starts anew."""
        if self._trials.setdefault(uid, trial) != trial:
            self._trials[uid] = trial
            self._curves[uid], self._elapsed[uid] = [], []
        return self._curves.setdefault(uid, [])

    def _state(self, study: Study) -> SearchState:
        optimizer = study.optimizer
        return SearchState(
            optimizer.objectives,
            self._curves,
            {trial.uid: trial.metrics for trial in study.log.finished(COMPLETE)},
            [evaluation.metrics or {} for evaluation in optimizer.front()],
            self._elapsed,
            lambda uids: optimizer.outlooks(self._curves, uids),
        )

    def _known(self, trials: Mapping[int, Trial]) -> list[tuple[int, Trial]]:
        """The stopped trials that the tuner's journal has, too."""
        return [(uid, trials[uid]) for uid in self._stopped if uid in trials]

    def _spares(self, uid: int) -> bool:
        # By number and not by chance, so that a resumed search spares the same ones.
        return int((uid + 1) * self.spared) > int(uid * self.spared)

    def summary(self, study: Study | None) -> str:
        """What was stopped, and what became of the trials that were spared."""
        text = f"stopped {len(self._stopped)} of {len(self._curves)} trials that reported"
        if study is None:
            return text
        if self._let_run:
            front = {evaluation.id for evaluation in study.optimizer.front()}
            text += (
                f"; of {len(self._let_run)} that were spared {len(front & self._let_run)} are on "
                "the front"
            )
        again = [uid for uid, trial in self._known(study.trials) if trial.status == COMPLETE]
        if again:
            text += f"; {len(again)} of the stopped ones ran to their ends after all"
        return text

    # ---- what outlives a restart

    def load(self, objectives: Sequence[str]) -> None:
        """Takes up what a former run wrote down.

        Args:
            objectives: the metrics that each report must hold.
        """
        for number, event in numbered(self.file):
            if not self._take_up(event, objectives):
                self._complain(
                    f"{self.file}, line {number} is left out: it makes no sense "
                    f"({shortened(event)})"
                )

    def _take_up(self, event: Event, objectives: Sequence[str]) -> bool:
        """Whether the line of a former run could be used."""
        uid, kind, rung = event.get("uid"), event.get("event"), event.get("rung")
        if not isinstance(uid, int) or isinstance(uid, bool):
            return False
        if kind == "spare":
            self._let_run.add(uid)
        elif kind == "stop" and isinstance(rung, int):
            self._stopped[uid] = rung
        elif kind == "rung" and isinstance(event.get("metrics"), dict):
            numbers = {n: float(x) for n, x in event["metrics"].items() if is_finite(x)}
            if not set(objectives) <= set(numbers):
                return False
            seconds = event.get("seconds")
            self._curve(uid, str(event.get("trial"))).append(numbers)
            self._elapsed.setdefault(uid, []).append(float(seconds) if is_finite(seconds) else 0.0)
        else:
            return False
        return True

    def _write(self, event: str, **fields: object) -> None:
        if self._journal is None:
            self._journal = Journal(self.file)
        self._journal.append(event, **fields)

    def _complain(self, message: str) -> None:
        if message not in self._complained:
            self._complained.add(message)
            logger.warning("ParetoAssessor: %s", message)
