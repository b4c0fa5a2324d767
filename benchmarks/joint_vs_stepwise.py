"""Joint search against the usual two steps, at the same number of training epochs.

Ways to spend the same trials, each a search with the same settings: both kinds of genes at once;
channels first, then bits for the winner; bits first, then channels for the winner; both kinds by
a multiple-choice knapsack on the sensitivities, whose trials only say where the accuracy limit
lies. A step's winner is the smallest network within a tolerance of the float baseline on ``val``
(with several costs: that of the smallest mean share of uniform int8's); that of all trials is
trained once more and read on ``test``. Fronts and hypervolumes are over accuracy on ``val`` and
the costs, all trials of a way counted. Every search is told what a user would tell it: the
sensitivities of its genes, as `joint-ga sensitivity` measures them without training, and as a
limit the accuracy from which on a network counts. Activations stay at 8 bits: nothing in these
objectives gains from fewer.

    python -m benchmarks.joint_vs_stepwise evaluators.tasks.kws:build --data DIR -o rows.csv

An interrupted run goes on with what is missing in the output file. The last training may be a
longer one, on more data, of which uniform int8 gets as much; then follows a table with the costs
on several devices:

    python -m benchmarks.joint_vs_stepwise TASK --final-task TASK --final-epochs 3 \
        --costs size_kb latency_ms --devices stm32l4r5 stm32f746 -o rows.csv
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ga
from benchmarks.compression.way_rows import (
    FINAL,
    FLOAT,
    TRIAL,
    Book,
    Params,
    Row,
    compressing,
    table,
)
from evaluators import Task, evaluate, load_task, sensitivity, trace
from evaluators.baseline import baseline_metric
from evaluators.sensitivity_analysis import PRUNE_RATIOS, by_gene
from evaluators.training import score
from hardware import Device, Network, cost_function, load_device
from nni_plugin.search_space import for_network, parse

INT8 = "int8"
"""The way of uniform int8, which has nothing to search."""

Trial = dict[str, Any]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What all ways share.

    Attributes:
        name: of the task, as `load_task` takes it.
        task: of the trials.
        final_name: of the last training's task.
        final: of the last training.
        final_epochs: of it.
        network: of the task.
        device: whose costs the searches know.
        costs: which of them are minimized.
        epochs: of a trial.
        trials: of a way.
        tolerance: accuracy that a winner may lose.
        depth: accuracy below the float baseline from which on a network counts: a limit of every
            search, and the depth of the box that hypervolumes are shares of.
        sensitivities: losses by gene.
        book: the rows.
    """

    name: str
    task: Task
    final_name: str
    final: Task
    final_epochs: int
    network: Network
    device: Device
    costs: tuple[str, ...]
    epochs: int
    trials: int
    tolerance: float
    depth: float
    sensitivities: Mapping[str, Any]
    book: Book

    def row(self, kind: str, way: str, seed: int, training_seed: int, params: Params) -> Row:
        """A training that is yet to be done, or looked up."""
        epochs = {FLOAT: 0, TRIAL: self.epochs, FINAL: self.final_epochs}[kind]
        name, genes = self.final_name if kind == FINAL else self.name, compressing(params)
        return Row(name, kind, way, seed, training_seed, epochs, 0.0, None, 0.0, genes)

    def float_row(self) -> Row:
        """The float network's own."""

        def measure() -> tuple[float, float]:
            return baseline_metric(self.task), score(
                self.task, self.task.model, self.task.test, "test"
            )

        return self.book.get(self.row(FLOAT, FLOAT, 0, 0, {}), measure)

    def trial_row(self, way: str, seed: int, params: Params) -> Row:
        """One trial; the same chromosome comes out the same."""

        def measure() -> tuple[float, None]:
            return self._trained(self.task, params, self.epochs, seed)[0], None

        return self.book.get(self.row(TRIAL, way, seed, seed, params), measure)

    def final_row(self, way: str, seed: int, training_seed: int, params: Params) -> Row:
        """A chosen network, trained to the end and read on ``test``."""

        def measure() -> tuple[float, float]:
            val, model = self._trained(self.final, params, self.final_epochs, training_seed)
            return val, score(self.final, model, self.final.test, "test")

        return self.book.get(self.row(FINAL, way, seed, training_seed, params), measure)

    def shown(self) -> list[Row]:
        """Rows of the float network and of finals like these."""
        wanted = {(self.name, FLOAT, 0), (self.final_name, FINAL, self.final_epochs)}
        return [row for row in self.book.rows if (row.task, row.kind, row.epochs) in wanted]

    def _trained(self, task: Task, params: Params, epochs: int, seed: int) -> tuple[float, Any]:
        found = evaluate(
            task, params, device=self.device, network=self.network, epochs=epochs, seed=seed
        )
        return found.metrics[task.metric_name], found.model


class Search:
    """One way's trials on one task, with one seed."""

    def __init__(self, setting: Setting, way: str, seed: int) -> None:
        self.setting, self.way, self.seed = setting, way, seed
        task = setting.task
        self.name, self.baseline = task.metric_name, baseline_metric(task)
        self.space = for_network(setting.network, setting.device, activation_bits=[8])
        self.cost = cost_function(setting.network, setting.device)
        self.full = self.cost({})
        self.trials: list[Trial] = []

    def run(
        self,
        trials: int,
        genes: Callable[[str], bool],
        fixed: dict[str, Any],
        strategy: str = "ga",
    ) -> None:
        """Spends ``trials`` on the genes that ``genes`` accepts, the others as in ``fixed``."""
        space = {key: value for key, value in self.space.items() if genes(key)}
        optimizer = ga.Optimizer(
            parse(space),
            {self.name: "maximize", **dict.fromkeys(self.setting.costs, "minimize")},
            {self.name: f">= {self.baseline - self.setting.depth}"},
            costs=lambda params: self.cost({**fixed, **params}),
            population_size=max(8, trials // 3),
            seed=self.seed,
            budget=trials,
            sensitivities={k: v for k, v in self.setting.sensitivities.items() if k in space},
            strategy=strategy,
        )
        for _ in range(trials):
            try:
                candidate = optimizer.ask()
            except ga.SpaceExhausted:
                break
            params = {**fixed, **candidate.params}
            value = self.setting.trial_row(self.way, self.seed, params).val
            metrics = {self.name: value, **self.cost(params)}
            optimizer.tell(candidate.id, metrics)
            self.trials.append({"params": params, "metrics": metrics})

    def winner(self) -> Trial:
        """The cheapest network that is accurate enough, else the most accurate one."""
        floor = self.baseline - self.setting.tolerance
        good = [t for t in self.trials if t["metrics"][self.name] >= floor]
        if good:
            return min(good, key=lambda t: sum(self.shares(t)))
        return max(self.trials, key=lambda t: t["metrics"][self.name])

    def shares(self, trial: Trial) -> list[float]:
        """Costs of a trial, in those of uniform int8."""
        return [trial["metrics"][name] / self.full[name] for name in self.setting.costs]

    def points(self) -> Array:
        """(trials, 1 + costs): accuracy below float as a share of the depth, and the shares."""
        losses = [self.baseline - t["metrics"][self.name] for t in self.trials]
        shares = [self.shares(t) for t in self.trials]
        return np.column_stack([np.array(losses) / self.setting.depth, np.array(shares)])

    def hypervolume(self) -> float:
        """Share of the box from (baseline - depth, uniform int8) to (1, 0) that trials dominate."""
        points = self.points()
        best = (self.baseline - 1.0) / self.setting.depth
        return float(ga.hypervolume(points, np.ones(points.shape[1]))) / (1.0 - best)

    def front_size(self) -> int:
        """Number of different results that no other is ahead of."""
        points = np.unique(self.points(), axis=0)
        return sum(not ((points <= one).all(1) & (points < one).any(1)).any() for one in points)


def is_prune(key: str) -> bool:
    return key.endswith(".prune")


def is_bits(key: str) -> bool:
    return not is_prune(key)


def joint(search: Search, trials: int) -> None:
    search.run(trials, lambda _: True, {})


def prune_then_quantize(search: Search, trials: int) -> None:
    search.run(trials // 2, is_prune, {})
    search.run(trials - trials // 2, is_bits, search.winner()["params"])


def quantize_then_prune(search: Search, trials: int) -> None:
    search.run(trials // 2, is_bits, {})
    search.run(trials - trials // 2, is_prune, search.winner()["params"])


def knapsack(search: Search, trials: int) -> None:
    search.run(trials, lambda _: True, {}, strategy="knapsack")


WAYS = {f.__name__: f for f in (joint, prune_then_quantize, quantize_then_prune, knapsack)}


def compare(setting: Setting, ways: Sequence[str], seeds: int, final_seeds: int) -> None:
    """Runs what is missing and prints a line for each way and seed, then the means."""
    base = setting.float_row()
    name = setting.task.metric_name
    longer = (setting.final_name, setting.final_epochs) != (setting.name, setting.epochs)
    chosen: list[tuple[str, int, Params]] = []
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    # Seeds outside, so that an interrupted run has compared all ways on the seeds it did.
    for seed in range(seeds):
        if longer:
            setting.final_row(INT8, seed, seed, {})
            chosen.append((INT8, seed, {}))
        for way in ways:
            search = Search(setting, way, seed)
            WAYS[way](search, setting.trials)
            winner = search.winner()
            last = setting.final_row(way, seed, seed, winner["params"])
            chosen.append((way, seed, winner["params"]))
            loss, size_kb = (base.test or 0.0) - (last.test or 0.0), winner["metrics"]["size_kb"]
            volume = search.hypervolume()
            found[way].append((volume, size_kb, loss))
            print(
                f"seed {seed} {way:20s} hypervolume {volume:.4f}, winner {size_kb:6.2f} KB, "
                f"{winner['metrics'][name] - base.val:+.4f} on val, {-loss:+.4f} on test, "
                f"{search.front_size()} on the front of {len(search.trials)} trials",
                flush=True,
            )
    for further in range(1, final_seeds):
        for way, seed, params in chosen:
            setting.final_row(way, seed, seed + further, params)
    for way, rows in found.items():
        volumes = [volume for volume, _, _ in rows]
        spread = statistics.stdev(volumes) if len(volumes) > 1 else 0.0
        print(
            f"{way:20s} hypervolume {statistics.mean(volumes):.4f} +- {spread:.4f}; winners "
            f"{statistics.mean(size for _, size, _ in rows):.2f} KB, "
            f"{-statistics.mean(loss for _, _, loss in rows):+.4f} on test"
        )


def gene_losses(
    task: Task,
    network: Network,
    device: Device,
    batches: int | None,
    ratios: Sequence[float] = PRUNE_RATIOS,
) -> dict[str, dict[str, float]]:
    """Sensitivities of the genes, on the first ``batches`` of ``val`` (None: all)."""
    quick = copy.copy(task)
    if batches is not None:
        quick.val, quick.baseline_metric = list(itertools.islice(task.val, batches)), None
    asked = replace(device, activation_bits=(8,))
    return by_gene(sensitivity(quick, device=asked, network=network, ratios=ratios))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("task")
    add("--data")
    add("--device", default="stm32f746", help="the searches know its costs")
    add("--devices", nargs="+", help="of the table; the same if left out")
    add("--costs", nargs="+", default=["size_kb"], help="what is minimized beside the loss")
    add("--tolerance", type=float, default=0.02, help="what a winner may lose on val")
    add("--depth", type=float, default=0.1, help="limit of the searches: float less this")
    add("--trials", type=int, default=40, help="of each way")
    add("--epochs", type=int, default=2, help="of a trial")
    add("--final-task", help="of the last training; the same if left out")
    add("--final-epochs", type=int, help="of the last training; as of a trial if left out")
    add("--final-seeds", type=int, default=1, help="trainings of each chosen network")
    add("--sensitivity-batches", type=int, help="of val; all if left out")
    add("--sensitivity-ratios", type=float, nargs="+", default=PRUNE_RATIOS, help="of pruning")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    add("--seeds", type=int, default=3)
    add("-o", "--output", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    task = load_task(args.task, args.data)
    final = load_task(args.final_task, args.data) if args.final_task else task
    network, device = trace(task), load_device(args.device)
    full_kb = cost_function(network, device)({})["size_kb"]
    print(f"{task.name}: {args.trials} trials of {args.epochs} epochs, int8 {full_kb:.1f} KB")
    batches, ratios = args.sensitivity_batches, args.sensitivity_ratios
    losses = gene_losses(task, network, device, batches, ratios)
    setting = Setting(
        args.task, task, args.final_task or args.task, final, args.final_epochs or args.epochs,
        network, device, tuple(args.costs), args.epochs, args.trials, args.tolerance, args.depth,
        losses, Book(args.output),
    )  # fmt: skip
    compare(setting, args.ways, args.seeds, args.final_seeds)
    float_kb = 4 * sum(p.numel() for p in task.model.parameters()) / 1024
    print(table(setting.shown(), network, args.devices or [args.device], float_kb))


if __name__ == "__main__":
    main()
