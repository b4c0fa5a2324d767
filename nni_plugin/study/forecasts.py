"""What the trials of a search would come to, by those that were trained to their ends.

One place turns the runs of a journal into expected values; search, page, tables and reports all
get them from there, through :class:`nni_plugin.study.trial_log.TrialLog`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ga.evaluation import COMPLETE
from ga.forecast.link import Expected, Link, Score, Trained
from nni_plugin.protocol.final_run import ON_TEST
from nni_plugin.protocol.json_types import Metrics
from nni_plugin.protocol.metrics import COSTS, DEFAULT

if TYPE_CHECKING:
    from nni_plugin.study.trial_log import FinalTrial, Trial

_BASELINE, _INHERITED = "baseline_", "inherited_"
_SIZE = "size_kb"


@dataclass(frozen=True)
class Forecast:
    """What a network comes to when it is trained to its end.

    Attributes:
        metric: which is meant.
        names: under which the trial reported it; the expected value takes their places.
        value: what is expected: the median.
        low: the lower end of its 90 % interval.
        high: the upper end.
        finals: what its own trainings came to, on validation data.
        tests: likewise on test data, of those of a finalist.
        ranks: whether it takes the place of the measured value where trials are ranked.
    """

    metric: str
    names: tuple[str, ...]
    value: float
    low: float
    high: float
    finals: tuple[float, ...] = ()
    tests: tuple[float, ...] = ()
    ranks: bool = True

    def shown(self) -> Metrics:
        """What is shown beside the measured metrics."""
        name = self.metric
        found: Metrics = {
            f"expected_{name}": self.value,
            f"expected_{name}_low": self.low,
            f"expected_{name}_high": self.high,
        }
        if self.finals:
            found |= {f"final_{name}": fmean(self.finals), "final_runs": len(self.finals)}
        if self.tests:
            found[f"{ON_TEST}{name}"] = fmean(self.tests)
        return {key: round(number, 6) for key, number in found.items()}

    def in_place(self, metrics: Mapping[str, float]) -> Metrics:
        """The metrics with what is expected in place of what was measured."""
        return {**metrics, **(dict.fromkeys(self.names, self.value) if self.ranks else {})}


class Forecasts:
    """Expected values of one search; they change only when a training to the end has a result.

    Args:
        metric: whose final value is meant.
        maximize: whether a larger one is better.
        trials: of the search, by uid.
        finals: the trainings to the end, by their own numbers.
    """

    def __init__(
        self,
        metric: str,
        maximize: bool,
        trials: Mapping[int, Trial],
        finals: Mapping[int, FinalTrial],
    ) -> None:
        self.metric = metric
        runs: dict[int, list[FinalTrial]] = defaultdict(list)
        for run in finals.values():
            of = trials.get(run.of)
            if run.status == COMPLETE and of is not None and metric in of.metrics:
                runs[run.of].append(run)
        self._runs = {uid: runs[uid] for uid in sorted(runs)}
        self._places = {uid: place for place, uid in enumerate(self._runs)}
        scores = [trials[uid].metrics for uid in self._runs]
        inherited = {key for m in scores for key in m if key.startswith(_INHERITED)}
        self._inherited = sorted(key for key in inherited if all(key in m for m in scores))
        self._link: Link | None = None
        if scores:
            trained = [
                Trained(self._score(trials[uid].metrics), tuple(r.metrics[metric] for r in found))
                for uid, found in self._runs.items()
            ]
            reference = next(
                (m[key] for m in scores if (key := _baseline_key(m, metric)) is not None), None
            )
            self._link = Link(trained, maximize=maximize, reference=reference)

    @property
    def is_known(self) -> bool:
        """Whether networks that were not trained to the end have expected values, too."""
        return self._link is not None and self._link.is_known

    def of(self, metrics: Mapping[str, float]) -> Forecast | None:
        """What is expected of a network without trainings of its own; None if nothing is.

        Args:
            metrics: what its trial reported.
        """
        if self._link is None or not self.is_known or self.metric not in metrics:
            return None
        (found,) = self._link.expect([self._score(metrics)])
        return self._told(found, metrics, [])

    def tell(self, trials: Iterable[Trial]) -> None:
        """Writes into complete trials what is expected of them, and takes it away from others."""
        asked = []
        for trial in trials:
            trial.forecast = None
            if self._link is None or trial.status != COMPLETE or self.metric not in trial.metrics:
                continue
            if trial.uid in self._places:
                found = self._link.of_trained(self._places[trial.uid])
                trial.forecast = self._told(found, trial.metrics, self._runs[trial.uid])
            elif self.is_known:
                asked.append(trial)
        if self._link is not None and asked:
            expected = self._link.expect([self._score(trial.metrics) for trial in asked])
            for trial, found in zip(asked, expected, strict=True):
                trial.forecast = self._told(found, trial.metrics, [])

    def _told(
        self, found: Expected, metrics: Mapping[str, float], runs: list[FinalTrial]
    ) -> Forecast:
        keys = [f"{ON_TEST}{name}" for name in (self.metric, _task_name(metrics, self.metric))]
        finals = tuple(run.metrics[self.metric] for run in runs)
        found_tests = [next((r.metrics[k] for k in keys if k in r.metrics), None) for r in runs]
        tests = tuple(value for value in found_tests if value is not None)
        names = self._names(metrics)
        return Forecast(
            self.metric, names, found.value, found.low, found.high, finals, tests, self.is_known
        )

    def _score(self, metrics: Mapping[str, float]) -> Score:
        values = [metrics.get(name) for name in (self.metric, *self._inherited)]
        return Score(tuple(values), metrics.get(_SIZE))

    def _names(self, metrics: Mapping[str, float]) -> tuple[str, ...]:
        """The metric's names: tasks report theirs both as ``default`` and by its name."""
        wanted = dict.fromkeys((self.metric, DEFAULT, _task_name(metrics, self.metric)))
        measured = metrics[self.metric]
        return tuple(name for name in wanted if metrics.get(name) == measured)


def _baseline_key(metrics: Mapping[str, float], metric: str) -> str | None:
    """Where a trial says what the float model has of a metric."""
    if f"{_BASELINE}{metric}" in metrics:
        return f"{_BASELINE}{metric}"
    # `default` is the task's metric, by whatever name its baseline has.
    found = [key for key in metrics if key.startswith(_BASELINE)]
    return found[0] if metric == DEFAULT and len(found) == 1 else None


def _task_name(metrics: Mapping[str, float], metric: str) -> str:
    """What the task calls a metric."""
    key = _baseline_key(metrics, metric)
    return metric if key is None else key.removeprefix(_BASELINE)


def forecast_metric(objectives: Iterable[str], final: object = None) -> str | None:
    """The metric whose final value is forecast; None if the objectives are costs alone.

    Args:
        objectives: their metrics.
        final: ``final`` of the class arguments, which may name one.
    """
    given = final.get("metric") if isinstance(final, Mapping) else None
    if isinstance(given, str):
        return given
    return next((name for name in objectives if name not in COSTS), None)
