"""Trainings to the end as a search asks for them and is told of them, each step in its journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ga.evaluation import CENSORED, COMPLETE, RUNNING, Evaluation
from nni_plugin.protocol.final_run import EPOCHS
from nni_plugin.protocol.json_types import Metrics
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import UnusableMetricsError, read_metrics
from nni_plugin.study.final_args import FinalArgs
from nni_plugin.study.final_plan import FinalPlan, FinalRequest
from nni_plugin.study.forecasts import forecast_metric
from nni_plugin.study.trial import FinalTrial, Trial
from nni_plugin.study.trial_log import TrialLog

Write = Callable[..., None]
"""Takes an event's name and its fields, and has them on disk and in the log when it returns."""


class FinalRuns:
    """The part of a search that trains chromosomes to the end.

    Args:
        args: what the config says; None: nothing is asked for, but results are taken.
        log: the search so far.
        write: writes an event.

    Raises:
        ValueError: chromosomes were trained to the end for another number of epochs.
    """

    def __init__(self, args: FinalArgs | None, log: TrialLog, write: Write) -> None:
        if args is not None:
            _check_epochs(args, log)
        self.args, self._log, self._write = args, log, write

    def ask(self, planned: int | None, *, over: bool = False) -> FinalTrial | None:
        """The training to the end that is due now, if one is; see `FinalPlan.next`."""
        if self.args is None:
            return None
        request = FinalPlan(self.args, self._log).next(planned, over=over)
        return None if request is None else self.start(request)

    def start(self, request: FinalRequest) -> FinalTrial:
        """Writes down that a training is asked for."""
        # Below 0, so that the search's own numbers, and with them its chance, stay what they were.
        uid = min(self._log.finals, default=0) - 1
        self._write("final", **request.as_event(uid))
        logger.info(
            "uid %d is trained to the end (%d epochs, seed %d), as %d",
            request.of, request.run.epochs, request.run.seed, uid,
        )  # fmt: skip
        return self._log.finals[uid]

    def is_open(self) -> bool:
        """Whether finalists are missing, or being trained."""
        return self.args is not None and FinalPlan(self.args, self._log).is_open()

    def running(self) -> list[FinalTrial]:
        """Trainings without an outcome, in the order in which they were asked for."""
        return [run for run in self._log.finals.values() if run.status == RUNNING]

    def tell(self, uid: int, value: object, trial: str | None = None) -> bool:
        """The result of a training; whether it changes what is expected of the others.

        The first result stands; one that comes after a failure counts.

        Args:
            uid: the training's number.
            value: as reported.
            trial: NNI's id of the trial job, where known.
        """
        run = self._log.finals[uid]
        if run.status == COMPLETE:
            return False
        metric = forecast_metric(self._log.objectives, self._log.class_args.get("final"))
        try:
            metrics = read_metrics(value, [EPOCHS] if metric is None else [metric, EPOCHS])
            if metrics.pop(EPOCHS) != run.run.epochs:
                raise UnusableMetricsError(f"it was not trained for {run.run.epochs} epochs")
        except UnusableMetricsError as error:
            self.fail(uid, f"{error}; a trial says with {EPOCHS} that it trained to the end", trial)
            return False
        before = self._log.forecasts
        self._write("tell", uid=uid, metrics=metrics, trial=trial)
        logger.info(
            "uid %d trained to the end: %s=%g", run.of, metric, metrics.get(metric or "", 0)
        )
        known = [found is not None and found.is_known for found in (before, self._log.forecasts)]
        return any(known)

    def fail(self, uid: int, reason: str, job: str | None = None) -> None:
        """A training came to nothing; it is asked for again a few times."""
        if self._log.finals[uid].status == RUNNING:
            logger.warning("training to the end %d failed: %s", uid, reason)
            self._write("fail", uid=uid, reason=reason, job=job)

    # ---- what the search ranks by

    def in_place(self, metrics: Mapping[str, float]) -> Metrics:
        """The metrics of a trial with what is expected in place of what was measured."""
        found = None if self._log.forecasts is None else self._log.forecasts.of(metrics)
        return dict(metrics) if found is None else found.in_place(metrics)

    def as_ranked(self, trial: Trial) -> Evaluation:
        """A trial as the optimizer is told of it again."""
        found = trial.evaluation()
        if trial.status == COMPLETE:
            return found if trial.forecast is None else replace(found, metrics=trial.ranked)
        if trial.status in (CENSORED, RUNNING) and trial.expected and not trial.expects_end:
            return replace(found, expected=self.in_place(trial.expected))
        return found


def _check_epochs(args: FinalArgs, log: TrialLog) -> None:
    """Raises a ``ValueError`` if trainings of other epochs are in the log: they don't compare."""
    trained = {run.run.epochs for run in log.finals.values() if run.status == COMPLETE}
    if trained and trained != {args.epochs}:
        others = ", ".join(str(n) for n in sorted(trained - {args.epochs}))
        raise ValueError(
            f"epochs={args.epochs}, but chromosomes of this search were trained to the end with "
            f"{others}: these don't compare, so say as many again, or start a new experiment"
        )
