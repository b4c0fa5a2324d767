"""One search that follows an Optuna study: whatever its trials say is told to the optimizer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

import ga
from ga.evaluation import CENSORED, COMPLETE, FAILED, IMPORTED, RUNNING
from ga.messages import Messages
from ga.problem.known_costs import CostFunction, KnownCosts
from ga.problem.objectives import Constraint, parse_constraints, read_metric
from nni_plugin.adapters.numbered import NumberedOptimizer, SearchOptions
from nni_plugin.adapters.optuna_space import OptunaSpace

__all__ = ["Goals", "StaleSearchError", "StudySearch"]

_PREFIX = "constraint:"
_STATUS = {
    TrialState.COMPLETE: COMPLETE,
    TrialState.FAIL: FAILED,
    TrialState.PRUNED: CENSORED,
    TrialState.RUNNING: RUNNING,
}


class StaleSearchError(Exception):
    """The study says something else than this search was built on: build a new one from it."""


@dataclass(frozen=True)
class Goals:
    """What a study's values, attributes and constraints mean.

    Attributes:
        names: of the study's values, in their order.
        directions: `maximize` or `minimize` for each.
        bounds: limits on named metrics.
        costs: metrics that are known before a trial.
    """

    names: tuple[str, ...]
    directions: tuple[str, ...]
    bounds: tuple[Constraint, ...]
    costs: CostFunction | None

    @classmethod
    def of(
        cls,
        study: Study,
        names: Sequence[str] | None,
        bounds: Mapping[str, object],
        costs: CostFunction | None,
    ) -> Goals:
        """Those of a study.

        Args:
            study: Optuna's.
            names: of its values; None takes the study's own, else `value`, or `value_0` and on.
            bounds: as `ga.Optimizer` has them.
            costs: as `ga.Optimizer` has them.

        Raises:
            ValueError: another number of names than the study has values, or a name twice.
        """
        count = len(study.directions)
        generic = ["value"] if count == 1 else [f"value_{i}" for i in range(count)]
        chosen = tuple(names or study.metric_names or generic)
        if len(chosen) != count or len(set(chosen)) != count:
            raise ValueError(
                f"metrics={list(chosen)!r} should name each of the study's {count} values, in "
                "the order in which the objective returns them"
            )
        directions = tuple(
            "maximize" if d == StudyDirection.MAXIMIZE else "minimize" for d in study.directions
        )
        return cls(chosen, directions, parse_constraints(bounds), costs)

    def metrics(
        self, trial: FrozenTrial, values: Sequence[float] | None = None
    ) -> dict[str, object]:
        """All that a trial reported, by name: its attributes, values and constraints.

        Args:
            trial: Optuna's.
            values: its values where the trial does not hold them yet.
        """
        values = trial.values if values is None else values
        named = dict(zip(self.names, values, strict=True)) if values else {}
        return {**trial.user_attrs, **named, **self.constraints(trial)}

    def constraints(self, trial: FrozenTrial) -> dict[str, float]:
        """What `constraints_func` or `trial.set_constraint` said: feasible if none is above 0."""
        # Optuna has the property from version 5 on.
        stored = getattr(trial, "constraints", None)
        if stored is None:
            stored = dict(enumerate(trial.system_attrs.get("constraints") or ()))
        own = {str(bound) for bound in self.bounds}
        return {f"{_PREFIX}{key}": float(x) for key, x in stored.items() if key not in own}

    def excesses(self, metrics: Mapping[str, object]) -> Iterator[tuple[Constraint, float]]:
        """How far each bound is broken whose metric is there, 0 if it is kept."""
        for bound in self.bounds:
            with contextlib.suppress(ValueError):  # missing, or no finite number
                yield bound, bound.excess(read_metric(metrics, bound.metric))


@dataclass
class StudySearch:
    """An optimizer whose candidates are the trials of a study: number n is trial n - 1.

    Attributes:
        space: of the search.
        goals: of the study.
        seed: of everything random.
        options: further ones of the optimizer.
        optimizer: what the trials so far have made of it.
        name: the study's.
    """

    space: OptunaSpace
    goals: Goals
    seed: int
    options: SearchOptions
    name: str
    optimizer: NumberedOptimizer = field(init=False)
    _limited: dict[str, None] = field(default_factory=dict, init=False)
    _told: set[int] = field(default_factory=set, init=False)
    _asked: dict[int, dict[str, object]] = field(default_factory=dict, init=False)
    _messages: Messages = field(default_factory=Messages, init=False)

    def __post_init__(self) -> None:
        self._costs = KnownCosts(self.goals.costs, self._messages)
        self.optimizer = self._build()

    def _build(self) -> NumberedOptimizer:
        goals = self.goals
        return NumberedOptimizer(
            self.space.genes,
            dict(zip(goals.names, goals.directions, strict=True)),
            [*goals.bounds, *(Constraint(name, "<=", 0.0) for name in self._limited)],
            goals.costs,
            seed=self.seed,
            **self.options,
        )

    def ask(self, number: int) -> dict[str, object]:
        """The parameters of a trial, as Optuna has them.

        Args:
            number: the trial's.

        Raises:
            ga.SpaceExhausted: there is none left.
            ga.UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        params = self.space.flat(self.optimizer.ask_for(number + 1).params)
        self._asked[number] = params
        return params

    def costs_of(self, trial: FrozenTrial) -> dict[str, float]:
        """What was known of a trial's parameters before it ran."""
        candidate = self.optimizer.results.pending.get(trial.number + 1)
        if candidate is not None and candidate.costs is not None:
            return candidate.costs
        return self._costs.of(self._params(trial, {})) or {}

    def follow(self, trials: Iterable[FrozenTrial], own: int | None = None) -> None:
        """Tells the optimizer what is new, in the order in which trials finished.

        Args:
            trials: all of the study's.
            own: the number of the trial that is about to ask.

        Raises:
            StaleSearchError: a trial ran with other parameters than those asked for it.
        """
        trials = [trial for trial in trials if trial.state in _STATUS and trial.number != own]
        done = [t for t in trials if t.state.is_finished() and t.number not in self._told]
        if self._has_more_constraints(done):
            self._begin_again()
            done = [trial for trial in trials if trial.state.is_finished()]
        for trial in sorted(done, key=_completion):
            self._tell(trial)
            self._told.add(trial.number)
        for trial in trials:
            if trial.state == TrialState.RUNNING and trial.number + 1 not in self.optimizer.results:
                self._note_running(trial)

    def _has_more_constraints(self, trials: Iterable[FrozenTrial]) -> bool:
        before = len(self._limited)
        for trial in trials:
            self._limited.update(dict.fromkeys(self.goals.constraints(trial)))
        return len(self._limited) > before

    def _begin_again(self) -> None:
        self.optimizer = self._build()
        self._told.clear()
        for number, params in self._asked.items():
            asked = self.space.nested(params)
            self.optimizer.restore(ga.Evaluation(number + 1, asked, status=RUNNING))

    def _tell(self, trial: FrozenTrial) -> None:
        number = trial.number + 1
        if not trial.params and number not in self.optimizer.results:
            return  # it ended before it drew anything
        asked = self._asked.pop(trial.number, None)
        if asked is not None and any(
            trial.params.get(name, value) != value for name, value in asked.items()
        ):
            raise StaleSearchError(f"trial {trial.number} did not run what it was asked")
        evaluation = self._evaluation(trial, asked or {})
        try:
            self._hand_over(evaluation)
        except ValueError as error:
            self._messages.once(
                f"refused {error}",
                f"trial {trial.number} counts as failed: {error}",
            )
            self.optimizer.fail(number, str(error))

    def _hand_over(self, evaluation: ga.Evaluation) -> None:
        optimizer, number = self.optimizer, evaluation.id
        if number not in optimizer.results:
            optimizer.restore(evaluation)
        elif evaluation.status == COMPLETE:
            optimizer.tell(number, evaluation.metrics or {})
        elif evaluation.status == CENSORED:
            optimizer.censor(number, evaluation.metrics or {}, evaluation.reason)
        else:
            optimizer.fail(number, evaluation.reason)

    def _evaluation(self, trial: FrozenTrial, asked: Mapping[str, object]) -> ga.Evaluation:
        params = self._params(trial, asked)
        metrics: dict[str, object] | None = None
        if trial.state == TrialState.COMPLETE:
            asked_here = trial.number + 1 in self.optimizer.results
            known = None if asked_here else self._costs.of(params)
            metrics = {**(known or {}), **self.goals.metrics(trial)}
        elif trial.state == TrialState.PRUNED:
            reported = [value for value in trial.values or () if math.isfinite(value)]
            metrics = dict(zip(self.goals.names, reported, strict=False))
        return ga.Evaluation(
            trial.number + 1, params, metrics, _STATUS[trial.state], IMPORTED,
            "" if trial.state == TrialState.COMPLETE else trial.state.name.lower(),
        )  # fmt: skip

    def _params(self, trial: FrozenTrial, asked: Mapping[str, object]) -> dict[str, object]:
        """The optimizer's parameters; a trial that does not fit the space keeps Optuna's."""
        try:
            return self.space.nested({**asked, **trial.params})
        except (KeyError, ValueError):
            return dict(trial.params)

    def _note_running(self, trial: FrozenTrial) -> None:
        """Another process's trial is pending here too, once all of its parameters are known."""
        try:
            params = self.space.nested(trial.params)
            self.space.genes.encode(params)
        except (KeyError, ValueError):
            return
        self.optimizer.restore(ga.Evaluation(trial.number + 1, params, status=RUNNING))


def _completion(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.max, trial.number
