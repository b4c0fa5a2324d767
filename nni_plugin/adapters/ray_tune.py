"""`JointGASearch`: this project's search as a searcher of Ray Tune.

tune.Tuner(trainable, param_space=space,
           tune_config=tune.TuneConfig(search_alg=JointGASearch(objectives), num_samples=50))
"""

from __future__ import annotations

import json
import logging
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

from ray.tune.search import Searcher

import ga
from ga.evaluation import RUNNING
from ga.problem.finite import shortened
from ga.problem.known_costs import CostFunction
from ga.problem.objectives import Metrics, parse_constraints
from nni_plugin.adapters.numbered import SearchOptions
from nni_plugin.adapters.ray_tune_space import TuneSpace

__all__ = ["JointGASearch"]

_log = logging.getLogger("ga")
_VERSION = 1
_MODES = {"min": "minimize", "max": "maximize"}


class JointGASearch(Searcher):  # type: ignore[misc]  # Ray's types are not followed
    """The search of `ga.Optimizer` for Ray Tune, with one or several objectives.

    Objectives and space may come from the `Tuner` instead: `metric` and `mode` of its
    `TuneConfig`, and its `param_space`.

    Args:
        objectives: `{metric: "maximize" | "minimize"}`, of what a trial reports. With several of
            them leave `metric` and `mode` out of `TuneConfig`.
        space: a config of Tune's, NNI's search space, or a `ga.SearchSpace`.
        constraints: `{metric: "<= 256"}`.
        costs: params -> {metric: value} for the metrics known before a trial, with parameters as
            `space` names them; one in a nested config is named `outer/inner`.
        seed: of everything random.
        full_iterations: how many reports make a whole trial. One that a scheduler stopped before
            counts as stopped, and its last result as none. None takes every end for a whole one.
        options: further ones of `ga.Optimizer`.

    Raises:
        ValueError: an argument that makes no sense, with the offending value.
    """

    def __init__(
        self,
        objectives: Mapping[str, str] | None = None,
        space: ga.SearchSpace | Mapping[str, object] | None = None,
        *,
        constraints: Mapping[str, object] | None = None,
        costs: CostFunction | None = None,
        seed: int = 0,
        full_iterations: int | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        self._objectives = dict(objectives) if objectives is not None else None
        metrics, modes = self._tunes_names()
        super().__init__(metric=metrics, mode=modes)
        if full_iterations is not None and full_iterations < 1:
            raise ValueError(f"full_iterations={full_iterations} should be at least 1")
        self._full = full_iterations
        self._constraints, self._costs = dict(constraints or {}), costs
        parse_constraints(self._constraints)
        self._seed, self._options = seed, options
        self._space = None if space is None else TuneSpace.of(space)
        self._numbers: dict[str, int] = {}
        self._optimizer: ga.Optimizer | None = None
        self._begin([])

    def _tunes_names(self) -> tuple[object, object]:
        """Objectives as Tune's own `metric` and `mode`."""
        if self._objectives is None:
            return None, None
        ga.Objectives.parse(self._objectives)
        short = {long: mode for mode, long in _MODES.items()}
        names, modes = list(self._objectives), [short[x] for x in self._objectives.values()]
        return (names[0], modes[0]) if len(names) == 1 else (names, modes)

    def _begin(self, log: Sequence[ga.Evaluation]) -> None:
        """Makes the optimizer, once it is known what is searched for and where."""
        if self._objectives is None or self._space is None:
            return
        try:
            self._optimizer = ga.Optimizer.replay(
                self._space.genes, self._objectives, log, self._constraints,
                costs=self._costs, seed=self._seed, **self._options,
            )  # fmt: skip
        except TypeError as error:
            raise ValueError(f"JointGASearch: {error}") from error

    @property
    def optimizer(self) -> ga.Optimizer:
        """The optimizer, e.g. for its `front()`.

        Raises:
            RuntimeError: objectives or space are not known yet.
        """
        if self._optimizer is None:
            missing = "objectives" if self._objectives is None else "space"
            raise RuntimeError(
                f"JointGASearch has no {missing}: give JointGASearch(objectives, space), or metric "
                "and mode to TuneConfig and param_space to the Tuner"
            )
        return self._optimizer

    # ---- Tune's interface

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, object], **spec: object
    ) -> bool:
        """Takes objectives and space from the `Tuner`; see `ray.tune.search.Searcher`.

        Returns:
            False if they are set already.

        Raises:
            ValueError: Tune's metric beside other objectives.
        """
        if self._objectives is None and metric:
            self._objectives = {metric: _MODES[mode or "max"]}
            self._metric, self._mode = self._tunes_names()
        elif metric and self._objectives is not None and metric not in self._objectives:
            raise ValueError(
                f"TuneConfig(metric={metric!r}) is none of the objectives "
                f"{', '.join(self._objectives)}: leave it out"
            )
        if config:
            if self._space is not None:
                return False
            self._space = TuneSpace.of(config)
        if self._optimizer is None:
            self._begin([])
        return True

    def suggest(self, trial_id: str) -> dict[str, object] | str:
        """The next config; `Searcher.FINISHED` where the search is over.

        Raises:
            RuntimeError: objectives or space are not known.
            ga.UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        optimizer = self.optimizer
        assert self._space is not None
        finished: str = Searcher.FINISHED
        if optimizer.should_stop():
            return finished
        try:
            candidate = optimizer.ask()
        except ga.SpaceExhausted as error:
            _log.warning("the search ends: %s", error)
            return finished
        self._numbers[trial_id] = candidate.id
        return self._space.config(candidate.params)

    def on_trial_result(self, trial_id: str, result: Mapping[str, object]) -> None:
        """Nothing: what a trial reports on its way is no result."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, object] | None = None, error: bool = False
    ) -> None:
        """The end of a trial. One that failed, or whose result can't be ranked, is not repeated."""
        number = self._numbers.get(trial_id)
        if number is None or number not in self.optimizer.results.pending:
            _log.warning("trial %s is not one that the search is waiting for", trial_id)
            return
        if error or not result:
            self.optimizer.fail(number, "failed")
            return
        metrics = _numbers_of(result)
        if self._full is not None and metrics.get("training_iteration", 0) < self._full:
            self.optimizer.censor(number, metrics, "stopped by the scheduler")
            return
        try:
            self.optimizer.tell(number, metrics)
        except ValueError as reason:
            _log.warning("trial %s counts as failed: %s", trial_id, reason)
            self.optimizer.fail(number, str(reason))

    def add_evaluated_point(
        self,
        parameters: Mapping[str, object],
        value: float | Mapping[str, object],
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Takes in a result from elsewhere.

        Args:
            parameters: a config.
            value: of the objective; with several objectives or constraints `{metric: value}`.
            error: such a point is left out.
            pruned: such a point is left out.
            intermediate_values: not used.

        Raises:
            ValueError: parameters outside the space, or a value that can't be ranked.
        """
        if error or pruned:
            return
        optimizer = self.optimizer
        assert self._space is not None
        metrics = value if isinstance(value, Mapping) else {optimizer.objectives.names[0]: value}
        optimizer.inject(self._space.params(parameters), metrics)

    # ---- state: all evaluations, from which the search is made again

    def save(self, checkpoint_path: str) -> None:
        """Writes the evaluations as JSON. Tune calls it by itself."""
        state: dict[str, object] = {"version": _VERSION, "seed": self._seed}
        if self._optimizer is not None:
            results, encode = self._optimizer.results, self._optimizer.space.encode
            running = [
                ga.Evaluation(c.id, c.params, status=RUNNING, origin=c.origin)
                for c in results.pending.values()
            ]
            state |= {
                "objectives": self._objectives,
                "trials": self._numbers,
                "evaluations": [
                    [e.id, list(encode(e.params)), e.metrics, e.status, e.origin, e.reason]
                    for e in [*results.archive.finished, *running]
                ],
            }
        Path(checkpoint_path).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Goes on from what `save` wrote. Trials in flight then are waited for.

        Raises:
            ValueError: no file of `save`, or one of another seed or other objectives.
        """
        state = _read(checkpoint_path)
        if state["seed"] != self._seed:
            raise ValueError(
                f"{checkpoint_path} is of a search with seed {state['seed']}, this one has seed "
                f"{self._seed}: give that one"
            )
        if "evaluations" not in state:
            return
        if self._objectives not in (None, state["objectives"]):
            raise ValueError(
                f"{checkpoint_path} is of a search for {state['objectives']}, this one is for "
                f"{self._objectives}: give those"
            )
        self._objectives = state["objectives"]
        if self._space is None:
            raise ValueError("JointGASearch needs its space to restore: JointGASearch(space=...)")
        decode = self._space.genes.decode
        self._begin(
            [
                ga.Evaluation(number, decode(genome), metrics, status, origin, reason)
                for number, genome, metrics, status, origin, reason in state["evaluations"]
            ]
        )
        self._numbers = dict(state["trials"])


def _read(path: str) -> Metrics:
    try:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a state of JointGASearch: {error}") from error
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise ValueError(f"{path} is no state of JointGASearch: {shortened(state)}")
    return state


def _numbers_of(result: Mapping[str, object]) -> Metrics:
    """What of a report can be a metric: Tune adds texts, and more."""
    return {
        name: float(value)
        for name, value in result.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool)
    }
