"""`JointGASampler`: this project's search as a sampler of Optuna.

sampler = JointGASampler(seed=0)
study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
"""

from __future__ import annotations

import contextlib
import random
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.samplers._base import _process_constraints_after_trial
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

import ga
from ga.arguments import check_arguments
from ga.messages import Messages
from ga.problem.known_costs import CostFunction
from ga.problem.objectives import parse_constraints
from nni_plugin.adapters.numbered import SearchOptions
from nni_plugin.adapters.optuna_search import Goals, StaleSearchError, StudySearch
from nni_plugin.adapters.optuna_space import OptunaSpace, suggest

__all__ = ["JointGASampler", "SearchEndedError", "suggest"]

_SEEDS = 2**32


class SearchEndedError(ga.SpaceExhausted, optuna.TrialPruned):  # type: ignore[misc]  # Optuna's types are not followed
    """Nothing is left to ask for.

    `study.optimize` ends at it, with the trial that asked pruned. A loop of `study.ask` and
    `study.tell` sees it where the trial's first parameter is suggested.
    """


class JointGASampler(BaseSampler):  # type: ignore[misc]  # Optuna's types are not followed
    """The search of `ga.Optimizer` for an Optuna study, with one or several directions.

    All that it knows comes from the study's trials, so a study in a storage goes on with a new
    sampler as it would have with the first one. Trials may run in threads (`n_jobs`) and in several
    processes on one storage.

    Args:
        space: what is searched, from the first trial on: Optuna's distributions by name, or a
            `ga.SearchSpace`, whose conditional genes are searched too (see `suggest`). Without it
            the first trial is drawn at random, and the parameters that all finished trials share
            are searched from then on. All others are drawn at random, with a warning.
        seed: of everything random; None draws one. Processes that share a study need different
            ones, or none.
        metrics: names of the objective's values, in their order, for `costs`, `constraints` and
            `sensitivities`; by default `study.metric_names`, or else `value`, or `value_0` and on.
        costs: params -> {metric: value} for the metrics known before a trial. A bound on one of
            these is kept before a trial.
        constraints: `{metric: "<= 256"}` for values, costs and user attributes of the trials.
        constraints_func: trial -> numbers, feasible if none is above 0, as Optuna's samplers have.
        warn_independent_sampling: whether to say it where a parameter is drawn at random.
        options: further ones of `ga.Optimizer`.

    Raises:
        ValueError: an argument that makes no sense, with the offending value.
    """

    def __init__(
        self,
        space: ga.SearchSpace | Mapping[str, BaseDistribution] | None = None,
        *,
        seed: int | None = None,
        metrics: Sequence[str] | None = None,
        costs: CostFunction | None = None,
        constraints: Mapping[str, object] | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        warn_independent_sampling: bool = True,
        **options: Unpack[SearchOptions],
    ) -> None:
        self._seed = random.SystemRandom().randrange(_SEEDS) if seed is None else seed
        self._space = None if space is None else OptunaSpace.of(space)
        self._metrics, self._costs, self._options = metrics, costs, options
        self._bounds = dict(constraints or {})
        self._constraints_func = constraints_func
        self._warns = warn_independent_sampling
        self._check()
        self._messages = Messages()
        self._search: StudySearch | None = None
        self._lock = threading.RLock()

    def _check(self) -> None:
        """Lets the optimizer judge its options now, and not in the midst of the first trial."""
        parse_constraints(self._bounds)
        toy = ga.SearchSpace([ga.Categorical("x", ("a", "b"))])
        check_arguments(toy, self._seed, "nsga2", ("nsga2",))
        space = self._space.genes if self._space else toy
        options = dict(self._options)
        if self._space is None:
            # Both are of the real space.
            options = {k: v for k, v in options.items() if k not in ("initial", "toolbox")}
        try:
            ga.Optimizer(space, {"value": "minimize"}, costs=self._costs, **options)  # type: ignore[arg-type]  # each option has a type of its own
        except TypeError as error:
            raise ValueError(f"JointGASampler: {error}") from error

    # ---- Optuna's interface

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that are searched together; see `optuna.samplers.BaseSampler`."""
        if self._space is not None:
            return self._space.distributions
        trials = study.get_trials(deepcopy=False)
        shared = intersection_search_space(trials)
        # In the order in which the objective suggests them: neighbours may be alike.
        order: list[str] = next(
            (list(t.params) for t in trials if shared.keys() <= t.params.keys()), []
        )
        return {name: shared[name] for name in order if name in shared}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, object]:
        """The next candidate; see `optuna.samplers.BaseSampler`.

        Raises:
            SearchEndedError: there is none left, or `budget` or `stagnation` ended the search.
            ga.UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        if not search_space:
            return {}
        with self._lock:
            search = self._following(study, search_space, trial.number)
            reason = search.optimizer.should_stop()
            if reason and reason != "exhausted":  # asking says more of that
                raise _ended(study, f"the search is over: {reason}")
            try:
                return search.ask(trial.number)
            except ga.SpaceExhausted as error:
                if self._has_more(study, search_space):
                    return {}
                raise _ended(study, str(error)) from error

    def _has_more(self, study: Study, searched: Mapping[str, BaseDistribution]) -> bool:
        """Whether trials differ in parameters that are drawn at random."""
        return self._space is None and any(
            trial.params.keys() - searched.keys() for trial in study.get_trials(deepcopy=False)
        )

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> object:
        """A random value for a parameter that is not searched."""
        if self._warns and (self._space is not None or trial.number > 0):
            self._messages.once(
                f"independent {param_name}",
                f"parameter {param_name!r} of trial {trial.number} is drawn at random, not "
                "searched: it is not in the sampler's space, or not suggested in every trial. "
                "Give JointGASampler(space=...) with it; a ga.SearchSpace may hold conditional "
                "parameters",
            )
        # Of seed, trial and name, so that a study that is taken up again draws the same.
        text = f"{self._seed}:{trial.number}:{param_name}"
        own = RandomSampler(seed=zlib.crc32(text.encode()))
        return own.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stores the trial's constraints where Optuna and its dashboard look for them."""
        if self._constraints_func is not None:
            _process_constraints_after_trial(self._constraints_func, study, trial, state)
        if self._bounds and state == TrialState.COMPLETE:
            with self._lock:
                goals = self._goals(study)
                costs = self._search.costs_of(trial) if self._search else {}
            for bound, excess in goals.excesses({**costs, **goals.metrics(trial, values)}):
                # The form of `Trial.set_constraint`, which a finished trial no longer has.
                study._storage.set_trial_system_attr(
                    trial._trial_id, f"constraints:{bound}", excess
                )

    def reseed_rng(self) -> None:
        """Nothing: threads share one search, and a request's randomness is that of its number."""

    # ---- the search behind it

    def optimizer_of(self, study: Study) -> ga.Optimizer:
        """The optimizer as the study's trials have made it, e.g. for its `front()`.

        Raises:
            ValueError: no parameter is searched yet.
        """
        with self._lock:
            space = self.infer_relative_search_space(study, study.trials[-1])
            if not space:
                raise ValueError(
                    "no parameter is searched yet: finish a trial, or give the sampler a space"
                )
            return self._following(study, space).optimizer

    def _goals(self, study: Study) -> Goals:
        return Goals.of(study, self._metrics, self._bounds, self._costs)

    def _following(
        self, study: Study, distributions: dict[str, BaseDistribution], own: int | None = None
    ) -> StudySearch:
        """The search in its present state; a new one if study or space are others than before."""
        search = self._search
        trials = study.get_trials(deepcopy=False)
        if search and search.name == study.study_name:
            if search.space.distributions == distributions:
                with contextlib.suppress(StaleSearchError):
                    search.follow(trials, own)
                    return search
            else:
                self._say_what_is_left(search.space.distributions, distributions)
        space = self._space or OptunaSpace.of(distributions)
        search = StudySearch(space, self._goals(study), self._seed, self._options, study.study_name)
        search.follow(trials, own)
        self._search = search
        return search

    def _say_what_is_left(
        self, before: Mapping[str, BaseDistribution], now: Mapping[str, BaseDistribution]
    ) -> None:
        if gone := [name for name in before if before[name] != now.get(name)]:
            self._messages.once(
                f"gone {gone}",
                f"the search space changes from trial to trial: {', '.join(gone)} is drawn at "
                f"random from now on, and {', '.join(now) or 'nothing'} is searched. A "
                "ga.SearchSpace as JointGASampler(space=...) may hold conditional parameters",
            )

    # ---- copies, which Optuna's users make for processes of their own

    def __getstate__(self) -> dict[str, object]:
        # The search is built again from the study's trials.
        return {**self.__dict__, "_lock": None, "_search": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()


def _ended(study: Study, reason: str) -> SearchEndedError:
    """Lets `study.optimize` end, too; a loop of one's own has nothing to be stopped."""
    with contextlib.suppress(RuntimeError):
        study.stop()
    return SearchEndedError(reason)
