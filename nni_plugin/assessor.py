"""An NNI assessor that stops trials whose training is worth more elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from nni.assessor import Assessor, AssessResult

from ga.early_stopping.policy import Policy
from nni_plugin import tuner
from nni_plugin.protocol.callbacks import guarded
from nni_plugin.protocol.dispatcher import Dispatcher
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import reported_uid
from nni_plugin.study.early_stopping import FILE_NAME, EarlyStopping, parse, retired
from nni_plugin.study.study import Study

__all__ = ["FILE_NAME", "ParetoAssessor", "parse", "retired"]


class ParetoAssessor(Assessor):  # type: ignore[misc]  # NNI has no types
    """Stops trials on what they report on their way; works with ``JointGATuner``.

    Trials report dicts with their ``uid`` and all objectives; known costs have their final values
    from the first report on. What is stopped reaches the tuner as a censored result, never as a
    final one; with it goes what its end would probably have been, for the surrogate only.

    Args:
        policy: ``reservation_value`` (Weitzman, 1979; the default), whose stopped trials may run
            again, or ``successive_halving`` (asynchronous; Li et al., 2020). Configs of before
            spell them ``promise`` and ``halving``; ``gain`` went and runs as the default.
        eta: with ``successive_halving``: one in ``eta`` goes on.
        first: with ``successive_halving``: reports before the first decision.
        spared: share of the trials that would be stopped and are let run, to see what became of
            them; 0, with ``successive_halving`` 0.1. They are drawn by their ``uid``.

    Raises:
        TypeError: an argument is unknown.
        ValueError: an argument's value can't be used.
    """

    def __init__(self, **class_args: object) -> None:
        folder = Path(os.environ.get("NNI_CHECKPOINT_DIRECTORY", "."))
        try:
            self.stopping = EarlyStopping(class_args, folder / FILE_NAME)
        except Exception as error:
            logger.error("ParetoAssessor cannot start: %s", error)
            raise
        self.lock = threading.RLock()
        self._dispatcher: Dispatcher | None = None

    @property
    def policy(self) -> Policy:
        """Decides which trials are stopped."""
        return self.stopping.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.stopping.policy = policy

    @property
    def spared(self) -> float:
        """Share of the trials that would be stopped and are let run."""
        return self.stopping.spared

    @guarded
    def assess_trial(self, trial_job_id: str, trial_history: Sequence[object]) -> AssessResult:
        """Whether a trial goes on, after each of its reports."""
        search = tuner.running_tuner()
        if search is None:
            raise RuntimeError("ParetoAssessor works with JointGATuner: name that as the tuner")
        with search.lock:
            study = search.study
            search.stopped_again = self._again
            decision = self.stopping.assess(study, trial_job_id, trial_history, search.sent)
            uid = reported_uid(trial_history[-1])
            if decision is None or uid is None:
                return AssessResult.Good
            search.expect_stop(uid, decision)
            return AssessResult.Bad

    def _again(self, new: bool) -> int | None:
        """A stopped trial's chromosome that should run after all, if there are new ones or not."""
        study = self._study()
        return None if study is None else self.stopping.again(study, new=new)

    def _study(self) -> Study | None:
        search = tuner.running_tuner()
        return None if search is None else search._study

    def summary(self) -> str:
        """What was stopped, and what became of the trials that were spared."""
        return self.stopping.summary(self._study())

    def load_checkpoint(self) -> None:
        """Called by NNI on resume."""
        search = tuner.running_tuner()
        self.stopping.load([] if search is None else list(search.args.objectives))

    def _failed(self, message: str) -> None:
        search = tuner.running_tuner()
        if search is not None:
            search._failed(message)  # its journal says why the experiment ended

    def _on_exit(self) -> None:
        logger.info("ParetoAssessor: %s", self.summary())
        self.stopping.close()
