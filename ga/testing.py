"""Contract tests: subclass `OptimizerContract` to test any optimizer with ask and tell.

    class TestMine(OptimizerContract):
        def make(self, space, objectives, constraints, seed):
            return MyOptimizer(space, objectives, constraints, seed=seed)

Needs pytest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import pytest

from ga.evaluation import SpaceExhausted
from ga.problem.genes import Categorical, Integer, Ordered, Real
from ga.problem.search_space import Params, SearchSpace
from ga.simulation import AskTell, Simulation, TrialScript

GOALS = {"loss": "minimize", "gain": "maximize"}


def contract_space() -> SearchSpace:
    """Every kind of gene, one of them conditional."""
    return SearchSpace(
        [
            Ordered("layer.bits", (2, 4, 8)),
            Ordered("layer.prune", (0.0, 0.25, 0.5)),
            Integer("units", 1, 30),
            Real("rate", 1e-4, 1.0, log=True),
            Categorical("act", ("relu", "tanh"), ((Real("slope", 0.0, 1.0),), ())),
        ]
    )


def contract_trial(params: Mapping[str, Any]) -> dict[str, float]:
    """A deterministic trial on `contract_space` with two conflicting objectives."""
    loss = params["units"] / params["layer.bits"] + abs(math.log10(params["rate"]) + 2)
    gain = params["units"] * (1 - params["layer.prune"]) + params["act"].get("slope", 0.3)
    return {"loss": loss, "gain": gain}


class OptimizerContract:
    """What a tuner relies on, whatever the algorithm."""

    #: How many trials the longer tests run; lower it for a slow optimizer.
    trials = 40

    def make(
        self,
        space: SearchSpace,
        objectives: Mapping[str, str],
        constraints: Mapping[str, object],
        seed: int,
    ) -> AskTell:
        """The optimizer to test."""
        raise NotImplementedError

    def _fresh(self, seed: int = 0, **constraints: str) -> AskTell:
        return self.make(contract_space(), GOALS, constraints, seed)

    def test_candidates_lie_in_the_space(self) -> None:
        """Bounds, types and nesting of the parameters."""
        optimizer, space = self._fresh(), contract_space()
        for _ in range(self.trials):
            candidate = optimizer.ask()
            assert space.decode(space.encode(candidate.params)) == candidate.params
            optimizer.tell(candidate.id, contract_trial(candidate.params))

    def test_ids_are_unique(self) -> None:
        """Also of candidates in flight."""
        optimizer = self._fresh()
        numbers = [optimizer.ask().id for _ in range(self.trials)]
        assert len(set(numbers)) == self.trials

    def test_no_candidate_is_asked_twice(self) -> None:
        """Neither told, nor failed, nor in flight."""
        optimizer, seen = self._fresh(), set()
        for turn in range(self.trials):
            candidate = optimizer.ask()
            assert repr(candidate.params) not in seen
            seen.add(repr(candidate.params))
            if turn % 3 == 0:
                optimizer.tell(candidate.id, contract_trial(candidate.params))
            elif turn % 3 == 1:
                optimizer.fail(candidate.id, "crashed")

    def test_same_seed_same_sequence(self) -> None:
        """When results arrive in the same order."""
        runs = []
        for _ in range(2):
            optimizer, asked = self._fresh(seed=5), []
            for _ in range(self.trials):
                candidate = optimizer.ask()
                asked.append(candidate.params)
                optimizer.tell(candidate.id, contract_trial(candidate.params))
            runs.append(asked)
        assert runs[0] == runs[1]

    def test_other_seed_other_sequence(self) -> None:
        """Seeds matter."""
        asked = [[self._fresh(seed=s)] for s in (1, 2)]
        params = [[o.ask().params for _ in range(self.trials)] for (o,) in asked]
        assert params[0] != params[1]

    @pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", None])
    def test_bad_metrics_are_refused(self, value: object) -> None:
        """By a ValueError, after which the candidate can be failed and the search goes on."""
        optimizer = self._fresh()
        candidate = optimizer.ask()
        with pytest.raises(ValueError, match="loss"):
            optimizer.tell(candidate.id, {"loss": value, "gain": 1.0})
        optimizer.fail(candidate.id, "bad metric")
        optimizer.ask()

    def test_missing_metrics_are_refused(self) -> None:
        """The message names the metric."""
        optimizer = self._fresh()
        candidate = optimizer.ask()
        with pytest.raises(ValueError, match="gain"):
            optimizer.tell(candidate.id, {"loss": 1.0})

    def test_unknown_candidates_are_refused(self) -> None:
        """Results of candidates that were never asked for."""
        with pytest.raises((KeyError, ValueError)):
            self._fresh().tell(10**6, {"loss": 1.0, "gain": 1.0})

    def test_all_failing_trials_do_not_stop_it(self) -> None:
        """Nothing was learned; it still proposes."""
        optimizer = self._fresh()
        for _ in range(self.trials):
            optimizer.fail(optimizer.ask().id, "crashed")

    def test_all_infeasible_results_do_not_stop_it(self) -> None:
        """A bound that nothing meets."""
        optimizer = self._fresh(gain=">= 1e9")
        for _ in range(self.trials):
            candidate = optimizer.ask()
            optimizer.tell(candidate.id, contract_trial(candidate.params))

    def test_constant_and_wildly_scaled_objectives(self) -> None:
        """No division by a range of zero, no overflow."""
        optimizer, rng = self._fresh(), random.Random(0)
        for _ in range(self.trials):
            metrics = {"loss": 7.0, "gain": 1e15 * rng.random()}
            optimizer.tell(optimizer.ask().id, metrics)

    def test_a_finite_space_ends(self) -> None:
        """With SpaceExhausted, after every candidate was asked once."""
        space = SearchSpace([Ordered("a", (1, 2, 3)), Categorical("b", ("x", "y"))])
        optimizer = self.make(space, {"loss": "minimize"}, {}, 0)
        for _ in range(6):
            candidate = optimizer.ask()
            optimizer.tell(candidate.id, {"loss": candidate.params["a"]})
        with pytest.raises(SpaceExhausted):
            optimizer.ask()

    def test_results_in_any_order(self) -> None:
        """Eight slots, trials of random length, crashes and early stops on a simulated clock."""
        rng = random.Random(1)

        def course(params: Params) -> TrialScript:
            steps = [(rng.expovariate(1), contract_trial(params)) for _ in range(3)]
            return TrialScript(steps, crashes=rng.random() < 0.1)

        simulation = Simulation(
            self._fresh(), course, slots=8, stop=lambda c, step, metrics: rng.random() < 0.2
        )
        outcomes = simulation.run(2 * self.trials)
        assert len(outcomes) == 2 * self.trials
        assert [o.time for o in outcomes] == sorted(o.time for o in outcomes)
