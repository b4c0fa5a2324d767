"""Syne Tune's MO-ASHA behind the calls of `ga.simulation`: `pip install --no-deps syne-tune`.

Successive halving on non-dominated ranks (Schmucker et al. 2021, arXiv:2106.12639), candidates at
random. It takes no known costs, no limits and no sensitivities. Its time is the number of a rung,
so that it may stop a trial after the look before training, too. Written for Syne Tune 0.16.0.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
from problems import Problem

import ga

_HALVING = 2


class MoAsha:
    """Asks and is told as an optimizer; `stop` is the simulation's.

    Args:
        problem: of finite genes.
        rungs: how often a trial reports, the final result left out.
        seed: of everything random.
    """

    def __init__(self, problem: Problem, rungs: int, seed: int) -> None:
        from syne_tune.backend.trial_status import Trial
        from syne_tune.config_space import choice
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        np.random.seed(seed)  # its spaces draw from the global generator
        self._problem, self._rungs, self._trial = problem, rungs, Trial
        self._names = [f"loss{i}" for i in range(len(problem.ideal))]
        space = {gene.name: choice(list(gene.values)) for gene in problem.genes}  # type: ignore[attr-defined]  # tables: all finite
        self._scheduler = MOASHA(
            space,
            self._names,
            time_attr="rung",
            max_t=rungs,
            grace_period=1,
            reduction_factor=_HALVING,
            random_seed=seed,
        )
        self._running: dict[int, Any] = {}
        self._asked = 0

    def ask(self) -> ga.Candidate:
        """The next one, which may be one of before."""
        config = self._scheduler.suggest().config
        number, self._asked = self._asked, self._asked + 1
        trial = self._trial(number, config, datetime.datetime.now())  # not used
        self._running[number] = trial
        self._scheduler.on_trial_add(trial)
        return ga.Candidate(number, config, None, "ga")

    def stop(self, candidate: ga.Candidate, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether a trial is not worth going on."""
        trial, losses = self._running[candidate.id], self._losses(metrics, step)
        if step + 1 == self._rungs:  # it has trained all; the final result is the same
            self._scheduler.on_trial_complete(trial, losses)
            return False
        return bool(self._scheduler.on_trial_result(trial, losses) == "STOP")

    def tell(self, number: int, metrics: Mapping[str, object], /) -> None:
        """A final result; the scheduler saw the same one at the last rung."""
        del metrics, self._running[number]

    def fail(self, number: int, reason: str = "", /) -> None:
        """Never, on a table."""
        raise NotImplementedError(f"{number}: {reason}")

    def censor(self, number: int, metrics: Mapping[str, object], /) -> None:
        """It has decided so itself."""
        del metrics, self._running[number]

    def _losses(self, metrics: Mapping[str, float], step: int) -> dict[str, float]:
        losses = self._problem.losses(dict(metrics)).tolist()
        return {**dict(zip(self._names, losses, strict=True)), "rung": step + 1}
