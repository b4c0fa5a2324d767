"""Which chromosome is trained to the end next, and when; a function of the journal alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ga.evaluation import COMPLETE, FAILED, IMPORTED
from ga.forecast.choose import finalist, to_learn_from
from ga.forecast.link import MINIMUM
from ga.history.pareto import nondominated
from ga.problem.objectives import Objectives, parse_constraints, violation
from nni_plugin.protocol.final_run import FinalRun
from nni_plugin.protocol.json_types import JsonObject
from nni_plugin.study.final_args import FinalArgs
from nni_plugin.study.forecasts import forecast_metric
from nni_plugin.study.selection import Pick, PickError
from nni_plugin.study.trial import FinalTrial, Trial
from nni_plugin.study.trial_log import TrialLog

ATTEMPTS = 3
"""A training that ends without a result is asked for so often."""

# Choices: the link is worth most early, and early there is no front to learn it on. So as many
# networks as make a link come at this share of the search, the others evenly up to the next one.
_FIRST, _LAST = 0.15, 0.6
_LEAST_SEEN = 8
_UNKNOWN_SEARCH = 100
_QUARTILE = 0.41
"""Of the way from the median to an end of the 90 % interval, for a normal distribution."""


@dataclass(frozen=True)
class FinalRequest:
    """A training to the end that is to be asked for."""

    of: int
    run: FinalRun

    def as_event(self, uid: int) -> JsonObject:
        """The fields of the journal's ``final`` event."""
        return {
            "uid": uid,
            "of": self.of,
            "epochs": self.run.epochs,
            "seed": self.run.seed,
            "finalist": self.run.test,
        }


class FinalPlan:
    """What is trained to the end in one search.

    Args:
        args: what the config says.
        log: the search so far.
    """

    def __init__(self, args: FinalArgs, log: TrialLog) -> None:
        self._args, self._log = args, log
        self._objectives = Objectives.parse(log.objectives)
        self._constraints = parse_constraints(log.constraints)
        self._metric = forecast_metric(log.objectives, {"metric": args.metric})

    def next(self, planned: int | None, *, over: bool = False) -> FinalRequest | None:
        """What is to be asked for now, before anything of the search; None for nothing.

        Args:
            planned: trials in all, those of the search included; None where nobody knows.
            over: whether the search asks nothing more: then it is the finalists' turn.
        """
        if self._is_hopeless():
            return None
        if over or self._is_finalists_turn(planned):
            return self.next_finalist()
        return self._to_learn_from(planned)

    def is_open(self) -> bool:
        """Whether finalists are missing, or being trained."""
        if any(run.status != COMPLETE for run in self._wanted_runs()):
            return True
        return not self._is_hopeless() and self.next_finalist() is not None

    def _is_hopeless(self) -> bool:
        """Whether trainings only failed so far: then the trial can't do it, whatever it trains."""
        states = [run.status for run in self._log.finals.values()]
        return states.count(FAILED) >= 2 * ATTEMPTS and COMPLETE not in states

    # ---- networks to learn from

    def _to_learn_from(self, planned: int | None) -> FinalRequest | None:
        runs = [run for run in self._log.finals.values() if not run.is_finalist]
        due = self._due(planned)
        asked = dict.fromkeys(run.of for run in runs)
        run = FinalRun(self._args.epochs, 0)
        for uid in asked:
            if _is_lost(r for r in runs if r.of == uid):
                return FinalRequest(uid, run)
        if len(asked) >= due:
            return None
        losses = {t.uid: self._losses(t) for t in self._log.finished(COMPLETE)}
        # A limit on the metric is meant for finished networks; these shall say how they finish.
        pool = self._front(asked, limited=False)
        if not pool:
            return None
        doubts = [t.forecast.high - t.forecast.low if t.forecast else 1.0 for t in pool]
        known = [losses[uid] for uid in asked if uid in losses]
        place = to_learn_from([losses[t.uid] for t in pool], doubts, known)
        return FinalRequest(pool[place].uid, run)

    def _due(self, planned: int | None) -> int:
        """How many networks should have been chosen by now to learn from."""
        done = sum(t.origin != IMPORTED for t in self._log.finished(COMPLETE))
        all_ = self._args.trials
        search = _UNKNOWN_SEARCH if planned is None else planned - all_ - self._args.finalist_trials
        first = max(min(_LEAST_SEEN, search // 2), round(_FIRST * search))
        if done < first or not all_:
            return 0
        step = max(1.0, (_LAST * search - first) / max(1, all_ - MINIMUM))
        return min(all_, MINIMUM + int((done - first) / step))

    # ---- finalists

    def _is_finalists_turn(self, planned: int | None) -> bool:
        if planned is None or not self._args.count:
            return False
        done = sum(r.status != FAILED for r in self._finalist_runs())
        return planned - self._log.asked <= self._args.finalist_trials - done

    def _finalist_runs(self) -> list[FinalTrial]:
        return [run for run in self._log.finals.values() if run.is_finalist]

    def _wanted_runs(self) -> list[FinalTrial]:
        """The finalists' trainings without those that another took the place of."""
        latest = {(run.of, run.run.seed): run for run in self._finalist_runs()}
        return [run for run in latest.values() if run.status != FAILED]

    def next_finalist(self) -> FinalRequest | None:
        """The next training of a finalist; None if all of them are running or done.

        A finalist is chosen when its first training is due, from the front as it is by then.
        """
        runs = self._finalist_runs()
        chosen = list(dict.fromkeys(run.of for run in runs))
        if len(chosen) < self._args.count and (new := self._choose(chosen)) is not None:
            chosen.append(new)
        for seed in range(1, self._args.seeds + 1):
            for uid in chosen:
                same = [r for r in runs if r.of == uid and r.run.seed == seed]
                if not same or _is_lost(same):
                    return FinalRequest(uid, FinalRun(self._args.epochs, seed, test=True))
        return None

    def _choose(self, chosen: list[int]) -> int | None:
        # Where nothing is known of finished networks, no cheap score shall turn one away.
        limited = self._log.forecasts is not None and self._log.forecasts.is_known
        complete = [t for t in self._log.finished(COMPLETE) if self._is_able(t)]
        left = [t for t in complete if t.uid not in chosen]
        for pick in self._args.pick[len(chosen) :]:
            # First among those that are likely to keep the bounds, then among all that may.
            for pool in ([_cautious(t, pick) for t in left], left):
                try:
                    best = pick.choose(pool)
                except PickError:
                    continue
                return best.uid
        front = self._front([], limited=limited)
        front += [t for t in complete if t.uid in chosen and t not in front]
        places = {i for i, t in enumerate(front) if t.uid in chosen}
        place = finalist([self._losses(t) for t in front], places) if front else None
        return None if place is None else front[place].uid

    # ---- the front

    def _front(self, without: Iterable[int], *, limited: bool) -> list[Trial]:
        """The feasible trials that no other one dominates, leaving some out.

        Args:
            without: uids that are left out: what only they dominate is among the others' best.
            limited: whether limits on the metric that is forecast count.
        """
        left = set(without)
        pool = [
            t
            for t in self._log.finished(COMPLETE)
            if self._is_able(t) and self._is_feasible(t, limited) and t.uid not in left
        ]
        if not pool:
            return []
        keep = nondominated([self._losses(t) for t in pool])
        return [trial for trial, is_kept in zip(pool, keep, strict=True) if is_kept]

    def _is_able(self, trial: Trial) -> bool:
        names: Mapping[str, float] = trial.metrics
        wanted = (*self._objectives.names, *(c.metric for c in self._constraints))
        return not trial.lost and all(name in names for name in wanted)

    def _is_feasible(self, trial: Trial, limited: bool) -> bool:
        limits = [c for c in self._constraints if limited or c.metric != self._metric]
        return violation(limits, trial.ranked) == 0

    def _losses(self, trial: Trial) -> tuple[float, ...]:
        return self._objectives.losses(trial.ranked)


def _cautious(trial: Trial, pick: Pick) -> Trial:
    """A trial with what it surpasses three times in four, where a bound is on what is forecast.

    The smallest of many that are expected to keep a bound is the one whose forecast is too good.
    """
    told = trial.forecast
    if told is None:
        return trial
    bounds = [bound for bound in pick.bounds if bound.metric in told.names]
    if not bounds:
        return trial
    end = told.low if bounds[0].sign < 0 else told.high
    value = told.value + _QUARTILE * (end - told.value)
    return replace(trial, forecast=replace(told, value=value))


def _is_lost(runs: Iterable[FinalTrial]) -> bool:
    """Whether a training came to nothing every time, and may be tried once more."""
    tried = list(runs)
    return all(run.status == FAILED for run in tried) and len(tried) < ATTEMPTS
