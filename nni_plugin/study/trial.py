"""One trial of a search, and a training to the end of its chromosome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ga.evaluation import COMPLETE, RUNNING, Evaluation, Status
from nni_plugin.protocol.final_run import FinalRun
from nni_plugin.protocol.json_types import Metrics, Params
from nni_plugin.study.forecasts import Forecast

ORIGIN = "final"
"""Where a training to the end comes from, in the place of the optimizer's origins."""


@dataclass
class Trial:
    """One chromosome from the ask to the report.

    Attributes:
        uid: the chromosome's number, unique within an experiment.
        params: the trial's parameters, without ``uid``.
        status: of ``ga.evaluation``: ``running`` until there is an outcome.
        metrics: final ones (``complete``), the last intermediate ones (``censored``), or none.
        readings: each measurement of one that was measured several times; ``metrics`` are the
            means.
        reason: why it failed or was stopped.
        origin: how the optimizer came to it; ``import`` if it came from outside.
        job_id: NNI's id of its trial job, where known.
        costs: the metrics that were known before the trial.
        expected: what the final metrics of a stopped trial would probably have been.
        asked: when it was first asked for, in seconds since the epoch.
        finished: when it ended, likewise.
        judged: whether it failed because of its result, and not for want of one.
        elapsed: how many seconds the search had taken when it ended.
        lost: whether its parameters are unknown, see above.
        forecast: what it comes to after the whole training; None while nothing is known.
        expects_end: whether ``expected`` was said of that, and not of the trial's own end.
    """

    uid: int
    params: Params
    status: Status = RUNNING
    metrics: Metrics = field(default_factory=dict)
    readings: tuple[Metrics, ...] = ()
    reason: str = ""
    origin: str = ""
    job_id: str | None = None
    costs: Metrics | None = field(default=None, repr=False)
    expected: Metrics | None = None
    asked: float | None = None
    finished: float | None = None
    judged: bool = False
    elapsed: float = 0.0
    lost: bool = False
    forecast: Forecast | None = field(default=None, repr=False)
    expects_end: bool = False

    @property
    def ranked(self) -> Metrics:
        """The metrics by which it is ranked: what is expected takes the place of its score."""
        return self.metrics if self.forecast is None else self.forecast.in_place(self.metrics)

    @property
    def shown(self) -> Metrics:
        """What was measured, and beside it what is expected."""
        return self.metrics if self.forecast is None else self.metrics | self.forecast.shown()

    def evaluation(self) -> Evaluation:
        """The trial as the optimizer was told of it, with the first of its measurements."""
        metrics = self.readings[0] if self.readings else self.metrics
        return Evaluation(
            self.uid,
            self.params,
            metrics if self.status == COMPLETE else (metrics or None),
            self.status,
            self.origin,
            self.reason,
            self.expected,
        )


@dataclass
class FinalTrial(Trial):
    """A training to the end of a chromosome that has a result.

    Attributes:
        of: the chromosome's number.
        run: epochs and seed.
        is_finalist: whether it is one of the last, and not one that the search learns from.
    """

    of: int = 0
    run: FinalRun = field(default=FinalRun(0, 0))
    is_finalist: bool = False

    @classmethod
    def of_event(
        cls,
        uid: int,
        event: Mapping[str, object],
        trials: Mapping[int, Trial],
        asked: float | None,
    ) -> FinalTrial | None:
        """The training that a journal's ``final`` event asks for.

        Args:
            uid: its number.
            event: with ``of``, ``epochs``, ``seed`` and ``finalist``.
            trials: of the search.
            asked: when, in seconds since the epoch.

        Returns:
            None if its chromosome is unknown, or its settings are no whole numbers.
        """
        of, epochs, seed = event.get("of"), event.get("epochs"), event.get("seed")
        if not (isinstance(of, int) and isinstance(epochs, int) and isinstance(seed, int)):
            return None
        if of not in trials or trials[of].lost:
            return None
        is_finalist = bool(event.get("finalist"))
        run = FinalRun(epochs, seed, is_finalist)
        params = trials[of].params | run.as_params()
        return cls(uid, params, origin=ORIGIN, asked=asked, of=of, run=run, is_finalist=is_finalist)
