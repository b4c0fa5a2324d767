"""Digits networks scored by a supernet, as a search problem without trainings.

A trial is what `--supernet FILE --epochs 0` gives: the supernet's weights and scales, batch-norm
statistics of the very network, no training. Scores are kept, so that all searches share them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ga
import hardware
from evaluators import Task, load_task
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import plan_of
from evaluators.compression.submodules import BATCH_NORMS
from evaluators.process_state import process_as_found
from evaluators.supernet.gradient import Settings, starting_points
from evaluators.supernet.slices import Slice, rounded_parameters
from evaluators.supernet.weights import Supernet, module_names, removed_units
from nni_plugin import search_space

CONFIGS = Path(__file__).parents[2] / "experiment_configs"
OBJECTIVES = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
COSTS = ("size_kb", "latency_ms")
DEVICE = "stm32f746"
# Batches of training data that statistics are estimated on, at once, and how much less accurate
# than the float model a network may be to count.
BATCHES, ROOM = 8, 0.10


class Costs:
    """Size and latency of digits networks, as the tuner has them.

    Args:
        function: all metrics of the device.
    """

    def __init__(self, function: hardware.CostFunction) -> None:
        self.function = function

    def __call__(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Of one candidate."""
        return self.batch([params])[0]

    def batch(self, many: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Of many."""
        return [{name: row[name] for name in COSTS} for row in self.function.batch(many)]


class SupernetScores:
    """The search problem.

    Args:
        path: of the supernet's file.
    """

    def __init__(self, path: Path) -> None:
        self.supernet = Supernet.load(path)
        self.task: Task = load_task("evaluators.tasks.digits:build")
        self.network = hardware.Network.load(CONFIGS / "digits.space.network.json")
        genes = json.loads((CONFIGS / "digits.space.json").read_text(encoding="utf-8"))
        self.space = search_space.parse(genes)
        self.device_costs = hardware.cost_function(self.network, hardware.load_device(DEVICE))
        self.costs = Costs(self.device_costs)
        self.sensitivities = self.network.metadata["sensitivities"]
        self.whole = self.costs(self.supernet.choices.largest())
        self._model = self.supernet.model(self.task)
        self._plan = plan_of(self.task.model, self.task.inputs, self.network, self.task)
        self._weights = rounded_parameters(self._model, module_names(self.network))
        with process_as_found():
            torch.manual_seed(0)
            self._images = torch.cat([x for x, _ in itertools.islice(self.task.train, BATCHES)])
        self._known: dict[tuple[Any, ...], dict[str, float]] = {}
        self._points: dict[int, list[dict[str, Any]]] = {}
        top = self._float_accuracy()
        self.top = top
        self.limits = {"accuracy": f">= {top - ROOM:.5f}"}

    def _float_accuracy(self) -> float:
        with torch.no_grad():
            return self._accuracy(self.task.model.eval(), self.task.val)

    def _accuracy(self, run: Any, batches: Any) -> float:
        hits = [(run(x).argmax(1) == y).float() for x, y in batches]
        return float(torch.cat(hits).mean())

    @process_as_found(threads=1)
    def trial(self, params: Mapping[str, Any]) -> dict[str, float]:
        """All metrics; `test` is the accuracy on the test split, which no search may see."""
        key = tuple(params[name] for name in self.supernet.space)
        if key not in self._known:
            self._known[key] = self._scored(params)
        return self._known[key]

    def _scored(self, params: Mapping[str, Any]) -> dict[str, float]:
        candidate = read_candidate(self.network, params)
        removed = removed_units(self.network, self._plan, candidate.kept)
        part = Slice(self._model, self._plan, removed, self._weights)
        norms = [m for m in part.shell.modules() if isinstance(m, BATCH_NORMS)]
        state = dict(self._model.named_parameters())

        def run(inputs: Any) -> Any:
            return part.run(state, self.supernet.levels, candidate.bits, inputs)

        part.shell.eval()
        with torch.no_grad():
            for norm in norms:
                norm.momentum = 1.0  # of this one batch
                norm.train()
            run(self._images)
            part.shell.eval()
            return {
                **self.costs(params),
                "accuracy": self._accuracy(run, self.task.val),
                "test": self._accuracy(run, self.task.test),
            }

    def points(self, seed: int) -> list[dict[str, Any]]:
        """Starting points by gradients, found once for each seed."""
        if seed not in self._points:
            self._points[seed] = starting_points(
                self.supernet, self.task, self.device_costs, Settings(seed=seed)
            )
        return self._points[seed]

    def hypervolume(self, rows: Sequence[Mapping[str, float]], split: str) -> float:
        """Of the front by accuracy on val, with the accuracies of a split.

        Between the limit of accuracy and the uncompressed network's costs, in units of both.

        Args:
            rows: of trials.
            split: `accuracy` (on val) or `test`.
        """
        least = self.top - ROOM
        within = [row for row in rows if row["accuracy"] >= least]
        losses = np.array([[-r["accuracy"], *(r[n] for n in COSTS)] for r in within])
        front = ga.nondominated(losses.reshape(-1, 3))
        points = np.array(
            [
                [(self.top - r[split]) / ROOM, *(r[n] / self.whole[n] for n in COSTS)]
                for r, is_on in zip(within, front, strict=True)
                if is_on
            ]
        ).reshape(-1, 3)
        return ga.hypervolume(points, np.ones(3)) if len(points) else 0.0
