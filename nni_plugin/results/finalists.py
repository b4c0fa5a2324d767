"""The finalists of a search: what each came to, and the training that stands for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

from ga.evaluation import COMPLETE
from nni_plugin.protocol.json_types import JsonObject
from nni_plugin.study.forecasts import Forecast
from nni_plugin.study.trial import FinalTrial, Trial
from nni_plugin.study.trial_log import TrialLog

__all__ = ["Finalist", "finalists"]


@dataclass(frozen=True)
class Finalist:
    """A chromosome that was trained to its end with several seeds.

    Attributes:
        trial: its trial in the search.
        forecast: the posterior of its final accuracy, its 90 % interval, and test.
        runs: its trainings as a finalist that have a result, by seed.
    """

    trial: Trial
    forecast: Forecast
    runs: tuple[FinalTrial, ...]

    @property
    def median(self) -> FinalTrial:
        """The training in the middle, which stands for the network: the best one was lucky.

        Of an even number the lower one of the two in the middle.
        """
        metric = self.forecast.metric
        ordered = sorted(self.runs, key=lambda run: run.metrics[metric])
        return ordered[(len(ordered) - 1) // 2]

    @property
    def ranked(self) -> Trial:
        """The trial with what it came to as its metrics, to choose among finalists."""
        told = replace(self.forecast, ranks=True)
        return replace(self.trial, metrics=told.in_place(self.trial.metrics), forecast=told)

    def row(self) -> JsonObject:
        """What tables, pages and files show of it."""
        told = self.forecast
        return {
            "uid": self.trial.uid,
            "trial": self.trial.job_id,
            "metric": told.metric,
            "measured": self.trial.metrics.get(told.metric),
            "expected": round(told.value, 6),
            "low": round(told.low, 6),
            "high": round(told.high, 6),
            "trainings": len(told.finals),
            "mean": round(fmean(told.finals), 6),
            "test": round(fmean(told.tests), 6) if told.tests else None,
            "epochs": self.runs[-1].run.epochs,
        }


def finalists(log: TrialLog) -> list[Finalist]:
    """Those with at least one result, best first."""
    found = []
    for trial in log.finalists():
        runs = [r for r in log.finals.values() if r.of == trial.uid and r.is_finalist]
        done = sorted((r for r in runs if r.status == COMPLETE), key=lambda r: r.run.seed)
        if trial.forecast is not None:
            found.append(Finalist(trial, trial.forecast, tuple(done)))
    return found
