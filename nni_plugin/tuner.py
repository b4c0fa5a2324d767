"""NNI's tuner protocol on one side, a search with its journal on the other.

What NNI does that the code below answers to, each found on NNI 3.0:

* Callbacks come on two threads, and a trial's end can overtake its result: a trial without a result
  is given up after a grace time, and a result that comes later still counts.
* The ``parameters`` argument of a result can be ``''``; it is ignored, the parameter id is right.
* Asked for more candidates than there are, NNI loses the slot: its id is kept and fed later.
* Parameter ids restart on resume: chromosomes have a number of their own, ``uid``, which travels
  with the parameters and comes back with the metrics.
* Resume replays results beside possibly wrong parameters, runs some trials again and forgets
  others: the journal says what was asked and answered, the manager what it runs again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nni.runtime.log import enable_global_logging
from nni.tuner import Tuner

import ga
from ga.early_stopping.decision import StopDecision
from ga.evaluation import RUNNING
from nni_plugin.protocol import manager
from nni_plugin.protocol.callbacks import guarded
from nni_plugin.protocol.dispatcher import Dispatcher, experiment_config, log_folder
from nni_plugin.protocol.dispatcher_faults import mend_dispatcher
from nni_plugin.protocol.experiment_end import ExperimentEnd
from nni_plugin.protocol.experiment_folder import make_private
from nni_plugin.protocol.json_types import NniSpace, Params
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.lost_trials import LostTrials
from nni_plugin.protocol.metrics import UID, reported_uid, shown
from nni_plugin.protocol.plain_json import read_plain_json_only
from nni_plugin.protocol.reruns import Reruns
from nni_plugin.results.live_page import LivePage
from nni_plugin.study.final_args import planned_trials
from nni_plugin.study.journal import FILE_NAME
from nni_plugin.study.replays import take_in
from nni_plugin.study.study import Study
from nni_plugin.study.trial import FinalTrial
from nni_plugin.study.trial_log import Trial
from nni_plugin.study.tuner_args import TunerArgs

_running: JointGATuner | None = None


def running_tuner() -> JointGATuner | None:
    """The tuner of this process, for the assessor; None if there was none.

    NNI builds the tuner first and then the assessor, one of each in a process, and introduces
    neither to the other. The tuner that was built last counts.
    """
    return _running


class JointGATuner(Tuner):  # type: ignore[misc]  # NNI has no types
    """A multi-objective genetic algorithm as an NNI tuner.

    Args:
        class_args: see ``nni_plugin.study.tuner_args.TunerArgs``.

    Raises:
        TypeError: an argument is unknown.
        ValueError: an argument's value can't be used.
        FileNotFoundError: a file named by ``costs`` or ``initial`` doesn't exist.
    """

    # Seconds after which a trial that ended without a result is given up. A result reported before
    # a trial failed is already on its way; a successful trial's may wait for a slow callback.
    grace_succeeded = 20.0
    grace_failed = 2.0

    def __init__(self, **class_args: object) -> None:
        if os.environ.get("SDK_PROCESS") == "dispatcher":
            enable_global_logging()  # what the optimizer notes goes to dispatcher.log, too
            read_plain_json_only()
            mend_dispatcher()
        try:
            self.args = TunerArgs.parse(class_args)
            self.args.cost_model()
            self.args.starting_points()
            self._planned = planned_trials(self.args.final_args(), experiment_config())
        except Exception as error:
            logger.error("JointGA cannot start: %s", error)
            raise
        self._class_args = class_args
        self.lock = threading.RLock()
        self._dispatcher: Dispatcher | None = None
        self._send: Callable[[int, Params], None] | None = None
        self._study: Study | None = None
        self._page: LivePage | None = None
        self._uids: dict[int, int] = {}
        self._starved: deque[int] = deque()
        self._again: deque[int] = deque()
        self._reruns: Reruns | None = None
        self._config = experiment_config()
        self._logs = log_folder()
        self._limits = Limits()
        # NNI's ids of trials that have ended, by their parameters' id.
        self.jobs: dict[int, str] = {}
        self._lost = LostTrials(self._give_up, self._logs and self._logs.parent)
        self._end: ExperimentEnd | None = None
        self._has_failed = False
        self._stopping: dict[int, StopDecision] = {}
        # When a chromosome was last sent to a trial, and the assessor's choice among stopped ones.
        self.sent: dict[int, float] = {}
        self.stopped_again: Callable[[bool], int | None] | None = None
        global _running
        _running = self

    @property
    def study(self) -> Study:
        """The search; there is one from the first ``update_search_space`` on."""
        if self._study is None:
            raise RuntimeError("NNI has not told the search space yet")
        return self._study

    # ---- search space

    @guarded
    def update_search_space(self, search_space: NniSpace) -> None:
        """NNI calls it once at the start or resume, and whenever the user changes the space."""
        if self._study is None:
            self._open(search_space)
        elif search_space == self.study.space:
            return
        else:
            self.study.change_space(search_space)
            logger.info("search space changed: %s", self.study.optimizer.space)
            self._end = None
        self._show()
        self._feed()

    def _open(self, space: NniSpace) -> None:
        journal = Path(os.environ.get("NNI_CHECKPOINT_DIRECTORY", ".")) / FILE_NAME
        if not journal.exists():  # whoever opens it to others later keeps it open
            make_private()
        study = self._study = Study(self.args, space, journal, self._class_args)
        logger.info("search space: %s", study.optimizer.space)
        if study.trials:
            unfinished = study.running() + study.finals.running()
            self._again = deque(trial.uid for trial in unfinished)
            logger.info(
                "resumed from %s: %d chromosomes, %d of them without a result",
                journal,
                len(study.trials),
                len(self._again),
            )
        planned = self._config.get("maxTrialNumber")
        self._page = LivePage(self._logs or journal.parent, journal, planned=planned)
        self._set_limits()
        base = manager.dispatcher_url()
        if base is not None:
            logger.info("Live Pareto page: %s%s", base, LivePage.URL_PATH)

    def _set_limits(self) -> None:
        """Tells the trials what they may take, as far as can be said by now."""
        limits = self.args.limits().in_force(self._config, self.study.log)
        if self._logs is not None and limits != self._limits:
            try:
                limits.write(self._logs)
            except OSError as error:
                logger.warning("trials can't be told their limits: %s", error)
        self._limits = limits

    # ---- candidates

    @guarded
    def generate_multiple_parameters(
        self,
        parameter_id_list: Sequence[int],
        st_callback: Callable[[int, Params], None] | None = None,
        **kwargs: object,
    ) -> list[Params]:
        """Candidates for these parameter ids; fewer than asked for when there are no more."""
        self._send = st_callback or self._send
        self._look_after_reruns()
        served = []
        for parameter_id in parameter_id_list:
            params = None if self._starved else self._next(parameter_id)
            if params is None:
                self._starved.append(parameter_id)
            else:
                served.append(params)
        return served

    def _next(self, parameter_id: int) -> Params | None:
        trial = self._asked_again() or self.study.finals.ask(self._planned)
        if trial is None:
            reason = self.study.is_over()
            try:
                if reason is None:
                    trial = self._revived(new=True) or self.study.ask()
            except ga.SpaceExhausted as error:
                logger.info("%s", error)
                reason = "exhausted"
            if trial is None and reason == "exhausted":
                trial = self._revived(new=False)
            if trial is None:
                trial = self.study.finals.ask(self._planned, over=True)
            if trial is None:
                # A finalist that is lost is trained once more: the end waits for them.
                if not self.study.finals.is_open():
                    self._finish(reason or "exhausted")
                return None
        self._uids[parameter_id] = trial.uid
        self.sent[trial.uid] = time.monotonic()
        if isinstance(trial, FinalTrial):
            self._set_limits()  # it takes longer than any before
        self._show()
        return {**trial.params, UID: trial.uid}

    def _asked_again(self) -> Trial | None:
        """A chromosome that lost its trial when the experiment was stopped."""
        while self._again:
            trial = self.study.run_of(self._again.popleft())
            if (
                trial is not None and trial.status == RUNNING
            ):  # its result may have come in by import
                return trial
        return None

    def _revived(self, *, new: bool) -> Trial | None:
        """A chromosome whose trial was stopped and that promises more than a new one, if any."""
        uid = self.stopped_again(new) if self.stopped_again is not None else None
        return None if uid is None else self.study.reopen(uid)

    def _feed(self) -> None:
        """Serves the ids that got no candidate when they were asked for."""
        while self._starved and self._send is not None:
            params = self._next(self._starved[0])
            if params is None:
                return
            self._send(self._starved.popleft(), params)

    def _go_on(self) -> None:
        """Asks anew where the end had to wait for a finalist."""
        if self._starved and self._end is None:
            self._feed()

    def _finish(self, reason: str) -> None:
        if self._end is None:
            logger.info("no more candidates (%s): ending once the running trials have", reason)
            self.study.end(reason)
            self._show()
            self._end = ExperimentEnd(reason, lambda end: self._end is end)
            self._end.start()

    # ---- results

    @guarded
    def receive_trial_result(
        self,
        parameter_id: int,
        parameters: object,
        value: object,
        trial_job_id: str | None = None,
        **kwargs: object,
    ) -> None:
        """A trial's final result."""
        uid = self._uids.get(parameter_id)
        echoed = reported_uid(value)
        if echoed is not None and echoed != uid and self.study.run_of(echoed) is not None:
            # What counts is what the trial ran; the id only says what was meant for it.
            logger.warning(
                "parameter id %s: uid %s, but the trial ran %s", parameter_id, uid, echoed
            )
            uid = echoed
        if uid is None:
            logger.warning("result for the unknown parameter id %s ignored", parameter_id)
            return
        self.study.tell(uid, value, trial_job_id)
        self._set_limits()
        self._show()
        self._go_on()

    @guarded
    def trial_end(self, parameter_id: int | None, success: bool, **kwargs: object) -> None:
        """A trial ended, with or without a result; NNI calls this on a second thread."""
        uid = None if parameter_id is None else self._uids.get(parameter_id)
        trial = None if uid is None else self.study.run_of(uid)
        if uid is None or trial is None or trial.status != RUNNING:
            return
        job = None if parameter_id is None else self.jobs.get(parameter_id)
        if uid in self._stopping:
            self._give_up(uid, "", job)
        elif success:
            reason = "the trial ended without a final result"
            self._lost.expect(self.grace_succeeded, uid, job, self._limits, reason)
        else:
            self._lost.expect(self.grace_failed, uid, job, self._limits)

    @guarded
    def _give_up(self, uid: int, reason: str, job: str | None) -> None:
        if uid in self._stopping:
            self.study.censor(uid, self._stopping.pop(uid), job)
        else:
            self.study.fail(uid, reason, job)
        self._show()
        self._go_on()

    def expect_stop(self, uid: int, decision: StopDecision) -> None:
        """The assessor's word that it has a trial stopped: its end will be no failure.

        Args:
            uid: the trial's chromosome.
            decision: with its last intermediate result and what was expected of it.
        """
        with self.lock:
            self._stopping[uid] = decision

    # ---- resume and imported data

    def _look_after_reruns(self) -> None:
        if self._reruns is None:
            base = manager.dispatcher_url()
            self._reruns = Reruns(base, self._again)
            self._again = deque(uid for uid in self._again if uid not in self._reruns.uids)
            if self._reruns.uids:
                logger.info("NNI runs %d unfinished trials again", len(self._reruns.uids))
        for uid, job, status in self._reruns.ended():
            reason = "run again after a resume, without a result" if status == "SUCCEEDED" else ""
            self._lost.expect(self.grace_succeeded, uid, job, self._limits, reason)

    @guarded
    def import_data(self, data: Sequence[object]) -> None:
        """Results from elsewhere: NNI's replay on resume, or ``nnictl experiment import``."""
        taken = 0
        for entry in data if isinstance(data, list) else [data]:
            if isinstance(entry, Mapping):
                taken += take_in(self.study, entry)
            else:
                logger.warning("imported entry left out: it is no dict but %s", shown(entry))
        if taken:
            logger.info("imported data: %d of %d results taken in", taken, len(data))
        self._show()

    # ---- live page and end

    def _show(self) -> None:
        if self._page is not None:
            self._page.update()

    def _failed(self, message: str) -> None:
        self._has_failed = True
        if self._study is not None:
            self._study.end("error", message)
            self._show()

    def _exit_reason(self, study: Study) -> str:
        """``budget`` once all of the experiment's trials are done, which NNI tells no tuner."""
        planned = self._config.get("maxTrialNumber")
        done = len(study.finished()) + len(study.log.finals) - len(study.finals.running())
        return "budget" if planned is not None and done >= planned else "stopped"

    def _on_error(self) -> None:
        """NNI's dispatcher itself has raised; NNI calls this inside of its ``except``."""
        if not self._has_failed:
            with self.lock, contextlib.suppress(OSError, ValueError):
                self._failed(f"NNI's dispatcher: {sys.exception()!r}")
        self._on_exit()

    def _on_exit(self) -> None:
        with self.lock:
            self._lost.cancel()
            if self._study is not None:
                try:
                    if self._end is None and not self._has_failed:
                        self._study.end(self._exit_reason(self._study))
                    self._study.close()
                except OSError as error:
                    logger.error("the journal can't be closed in order: %s", error)
            self._end = None
        if self._page is not None:
            self._page.close()
