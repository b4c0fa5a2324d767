"""Trials of a shipped config really trained, for `multi_fidelity.py`: no table stands behind them.

A trial is the shipped one but for its process: pruned, calibrated, fine-tuned, with a report after
each stage and epoch. What it reports is kept in a folder, so that an interrupted benchmark goes on
and a chromosome that several searches ask for is trained once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import yaml
from problems import Problem

import ga
from evaluators import evaluate, load_task
from ga.problem.known_costs import CostFunction
from ga.simulation import SimulatedTrial, TrialScript
from hardware import Network, cost_function, load_device
from nni_plugin.search_space import parse

CONFIGS = Path(__file__).resolve().parents[2] / "experiment_configs"
# Reports before the first epoch, and what pruning and calibration take, in epochs (digits).
_STAGES = (0.6, 0.3)

Metrics = dict[str, float]


class _EnoughError(Exception):
    """A trial has reported what is asked for."""


@dataclass(frozen=True)
class _Network(Problem):
    """A problem over a network's own search space."""

    searched: ga.SearchSpace | None = None
    known: CostFunction | None = None

    def space(self) -> ga.SearchSpace:
        """The network's genes, with the layers that they belong to."""
        assert self.searched is not None
        return self.searched

    def costs(self, params: dict[str, Any]) -> Metrics:
        """Without a trial."""
        assert self.known is not None
        return dict(self.known(params))


class _LazyScript(TrialScript):
    """One whose results are not looked at before they are asked for."""

    def __post_init__(self) -> None:
        """Nothing is checked: that would train the trial to its end."""


class Trained:
    """A shipped config's trials on a simulated clock whose unit is an epoch of training.

    Quality is the share of a box: from the config's own limit of accuracy up to 1, and up to 1.1
    times the size and latency of the unpruned 8-bit network.

    Args:
        config: Name of a config whose task needs no data.
        epochs: Of a trial.
        folder: Keeps what trials reported.
    """

    def __init__(self, config: str, epochs: int, folder: Path) -> None:
        settings = yaml.safe_load((CONFIGS / config).read_text(encoding="utf-8"))
        words, given = settings["trialCommand"].split(), settings["tuner"]["classArgs"]
        self._task = load_task(words[words.index("--task") + 1])
        self._device = load_device(given["costs"]["device"])
        file = CONFIGS / given["costs"]["network"]
        self._network = Network.load(file)
        cost = cost_function(self._network, self._device)
        self._epochs, self._folder = epochs, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.steps = (_STAGES[0], sum(_STAGES), *(sum(_STAGES) + k + 1 for k in range(epochs)))
        space = parse(json.loads((CONFIGS / settings["searchSpaceFile"]).read_text("utf-8")))
        whole = cost({})
        least = float(given["constraints"]["accuracy"].split()[1])
        costs = [1.1 * whole[name] for name in ("size_kb", "latency_ms")]
        self.problem = _Network(
            config,
            (),
            given["objectives"],
            tuple(whole),
            lambda params: self._curve(params, len(self.steps))[-1],
            np.array([-1.0, 0.0, 0.0]),
            np.array([-least, *costs]),
            1.0,
            given["constraints"],
            self._network.metadata["sensitivities"],
            space,
            cost,
        )

    def course(self, params: dict[str, Any]) -> TrialScript:
        """A trial, which is trained as far as it is looked at."""
        return _LazyScript(_Reports(self, params))

    def trained(self, outcome: SimulatedTrial) -> float:
        """Epochs that a trial ran, its first stages counted as the epochs that they take."""
        return self.steps[outcome.steps - 1]

    def report(self, params: dict[str, Any], number: int) -> Metrics:
        """A trial's report of that number, from 0 on."""
        first = len(_STAGES)
        return self._curve(params, first if number < first else len(self.steps))[number]

    def _curve(self, params: dict[str, Any], reports: int) -> list[Metrics]:
        key = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:24]
        file = self._folder / f"{key}.json"
        curve: list[Metrics] = json.loads(file.read_text("utf-8")) if file.exists() else []
        if len(curve) >= reports:
            return curve
        curve = []

        def keep(metrics: Metrics) -> None:
            curve.append(metrics)
            if len(curve) == reports < len(self.steps):
                raise _EnoughError

        with contextlib.suppress(_EnoughError):
            evaluate(
                self._task,
                params,
                device=self._device,
                network=self._network,
                epochs=self._epochs,
                report=keep,
            )
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(curve), encoding="utf-8")
        partial.replace(file)
        return curve


class _Reports(Sequence[tuple[float, Metrics]]):
    """A trial's reports with the epochs between them, each trained when it is asked for."""

    def __init__(self, trained: Trained, params: dict[str, Any]) -> None:
        self._trained, self._params = trained, params

    def __len__(self) -> int:
        return len(self._trained.steps)

    @overload
    def __getitem__(self, number: int) -> tuple[float, Metrics]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[float, Metrics]]: ...

    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        before = self._trained.steps[number - 1] if number else 0.0
        epochs = self._trained.steps[number] - before
        return epochs, self._trained.report(self._params, number)
