"""Other searches as NNI tuners.

`nni_tuner` makes NNI's own. The two classes are for `real_run.py`: they get the trials' metrics and
nothing else. Both are told the same two numbers that scale the costs (of the unpruned 8-bit
network), which the trials' first result would tell as well.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from nni.tuner import Tuner

Scales = dict[str, float]


def losses(metrics: dict[str, float], scales: Scales) -> list[float]:
    """Error and relative costs, each about between 0 and 1."""
    return [1.0 - metrics["accuracy"], *(metrics[name] / scale for name, scale in scales.items())]


def nni_tuner(kind: str, seed: int) -> Any:
    """One of NNI's own tuners on one number; the first population of its evolution is unseeded.

    Args:
        kind: `evolution`, `tpe`, `anneal` or `random`.
        seed: of what can be seeded; Python's and numpy's generators are, too.
    """
    import nni  # noqa: F401 - sets NNI's package up before its tuners are imported
    from nni.algorithms.hpo.evolution_tuner import EvolutionTuner
    from nni.algorithms.hpo.random_tuner import RandomTuner

    logging.disable(logging.INFO)
    random.seed(seed)
    np.random.seed(seed)
    if kind == "evolution":
        return EvolutionTuner(optimize_mode="minimize", population_size=32)
    if kind == "tpe":
        return TpeTuner(optimize_mode="minimize", seed=seed)
    if kind == "anneal":
        from nni.algorithms.hpo.hyperopt_tuner import HyperoptTuner

        return HyperoptTuner("anneal", "minimize")
    return RandomTuner(seed=seed)


class WeightedTpe(TpeTuner):  # type: ignore[misc]  # NNI has no types
    """NNI's TPE on the mean of the losses: its tuners take one number.

    Args:
        scales: Metric -> what it is divided by.
        seed: Of the sampler.
    """

    def __init__(self, scales: Scales, seed: int = 0) -> None:
        super().__init__(optimize_mode="minimize", seed=seed)
        self.scales = scales

    def receive_trial_result(
        self, parameter_id: int, parameters: Any, value: Any, **kwargs: Any
    ) -> None:
        """NNI's protocol."""
        parts = losses(value, self.scales)
        mean = sum(parts) / len(parts)
        super().receive_trial_result(parameter_id, parameters, mean, **kwargs)


class OptunaTuner(Tuner):  # type: ignore[misc]  # NNI has no types
    """A sampler of Optuna on the losses as objectives, through its ask and tell.

    Args:
        scales: Metric -> what it is divided by.
        sampler: `TPESampler` (multivariate) or `GPSampler`.
        seed: Of the sampler.
    """

    def __init__(self, scales: Scales, sampler: str = "TPESampler", seed: int = 0) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.captureWarnings(True)
        options = {"multivariate": True} if sampler == "TPESampler" else {}
        self.scales = scales
        self.study = optuna.create_study(
            directions=["minimize"] * (1 + len(scales)),
            sampler=getattr(optuna.samplers, sampler)(seed=seed, **options),
        )
        self.space: dict[str, list[Any]] = {}
        self.running: dict[int, Any] = {}

    def update_search_space(self, search_space: dict[str, Any]) -> None:
        """NNI's protocol; every entry is a choice of numbers, searched by its place."""
        self.space = {name: list(entry["_value"]) for name, entry in search_space.items()}

    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> dict[str, Any]:
        """NNI's protocol."""
        trial = self.running[parameter_id] = self.study.ask()
        return {
            name: values[trial.suggest_int(name, 0, len(values) - 1)]
            for name, values in self.space.items()
        }

    def receive_trial_result(
        self, parameter_id: int, parameters: Any, value: Any, **kwargs: Any
    ) -> None:
        """NNI's protocol."""
        self.study.tell(self.running.pop(parameter_id), losses(value, self.scales))
