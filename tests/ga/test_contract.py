"""The contract, for the optimizer in each of its forms and for a random search."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from ga import Candidate, Objectives, Optimizer, SearchSpace, SpaceExhausted, parse_constraints
from ga.problem.objectives import violation
from ga.testing import OptimizerContract


class TestPlain(OptimizerContract):
    options: ClassVar[dict[str, Any]] = {"surrogate": "none"}

    def make(self, space: SearchSpace, objectives: Any, constraints: Any, seed: int) -> Optimizer:
        return Optimizer(space, objectives, constraints, seed=seed, **self.options)


class TestNsga3(TestPlain):
    options: ClassVar[dict[str, Any]] = {"surrogate": "none", "survival": "nsga3"}


class TestHypervolume(TestPlain):
    options: ClassVar[dict[str, Any]] = {"surrogate": "none", "survival": "hypervolume"}


class TestSurrogate(TestPlain):
    trials = 16
    options: ClassVar[dict[str, Any]] = {"surrogate": "gp", "population_size": 6}


class TestTrees(TestPlain):
    trials = 14
    options: ClassVar[dict[str, Any]] = {"surrogate": "trees", "population_size": 6}


class TestDifferentialEvolution(TestPlain):
    options: ClassVar[dict[str, Any]] = {"strategy": "de", "population_size": 6}


class TestReinforce(TestPlain):
    options: ClassVar[dict[str, Any]] = {"strategy": "reinforce", "population_size": 6}


class TestGradient(OptimizerContract):
    """The points are drawn by the seed: so other seeds are other searches."""

    def make(self, space: SearchSpace, objectives: Any, constraints: Any, seed: int) -> Optimizer:
        point = space.decode(space.sample(random.Random(seed)))
        return Optimizer(
            space, objectives, constraints, seed=seed, strategy="gradient", initial=[point]
        )


class Chance:
    """Random search: any class with ask and tell can be held to the contract."""

    def __init__(self, space: SearchSpace, objectives: Any, constraints: Any, seed: int) -> None:
        self._space, self._rng = space, random.Random(seed)
        self._goals, self._bounds = Objectives.parse(objectives), parse_constraints(constraints)
        self._seen: set[Any] = set()
        self._open: set[int] = set()

    def ask(self) -> Candidate:
        for _ in range(1000):
            genome = self._space.sample(self._rng)
            if self._space.key(genome) not in self._seen:
                self._seen.add(self._space.key(genome))
                self._open.add(len(self._seen))
                return Candidate(len(self._seen), self._space.decode(genome))
        raise SpaceExhausted

    def tell(self, number: int, metrics: Mapping[str, Any]) -> None:
        if number not in self._open:
            raise KeyError(number)
        self._goals.losses(metrics)
        violation(self._bounds, metrics)

    def fail(self, number: int, reason: str = "") -> None:
        self._open.discard(number)

    def censor(self, number: int, metrics: Mapping[str, Any]) -> None:
        self._open.discard(number)


class TestChance(OptimizerContract):
    def make(self, space: SearchSpace, objectives: Any, constraints: Any, seed: int) -> Chance:
        return Chance(space, objectives, constraints, seed)
