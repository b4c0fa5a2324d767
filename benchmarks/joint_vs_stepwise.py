"""Joint search against the usual two steps, at the same number of training epochs.

Three ways to spend the same trials, each a genetic search with the same settings: both kinds of
genes at once; channels first, then bits for the winner; bits first, then channels for the winner.
A step's winner is the smallest network within two points of the float baseline on ``val``; that
of all trials is made once more and read on ``test``. Fronts and hypervolumes are over accuracy on
``val`` and flash, all trials of a way counted. Every search is told what a user would tell it: the
sensitivities of its genes, as `joint-ga sensitivity` measures them without training, and as a
limit the accuracy from which on a network counts. Activations stay at 8 bits: nothing in these
objectives gains from fewer.

    python -m benchmarks.joint_vs_stepwise evaluators.tasks.kws:build --data DIR -o result.json

An interrupted run goes on with what is missing in the output file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import ga
from evaluators import Result, Task, evaluate, load_task, sensitivity, trace
from evaluators.baseline import baseline_metric
from evaluators.sensitivity_analysis import by_gene
from evaluators.training import score
from hardware import Device, Network, cost_function, load_device
from nni_plugin.search_space import for_network, parse

TOLERANCE = 0.02
"""Accuracy that a step's winner may lose."""

DEPTH = 0.1
"""Accuracy below the float baseline from which on a network counts: a limit of every search, and
the depth of the box that hypervolumes are shares of."""

Trial = dict[str, Any]


class Search:
    """One strategy's trials on one task, with one seed."""

    def __init__(
        self, task: Task, network: Network, device: Device, epochs: int, seed: int
    ) -> None:
        self.task, self.network, self.device = task, network, device
        self.epochs, self.seed = epochs, seed
        self.floor = baseline_metric(task) - DEPTH
        self.space = for_network(network, device, activation_bits=[8])
        self.cost = cost_function(network, device)
        self.sensitivities = by_gene(sensitivity(task, device=device, network=network))
        self.trials: list[Trial] = []

    def run(self, trials: int, genes: Callable[[str], bool], fixed: dict[str, Any]) -> None:
        """Spends ``trials`` on the genes that ``genes`` accepts, the others as in ``fixed``."""
        space = {key: value for key, value in self.space.items() if genes(key)}
        optimizer = ga.Optimizer(
            parse(space),
            {self.task.metric_name: "maximize", "size_kb": "minimize"},
            {self.task.metric_name: f">= {self.floor}"},
            costs=lambda params: self.cost({**fixed, **params}),
            population_size=max(8, trials // 3),
            seed=self.seed,
            budget=trials,
            sensitivities=self.sensitivities,
        )
        for _ in range(trials):
            try:
                candidate = optimizer.ask()
            except ga.SpaceExhausted:
                break
            params = {**fixed, **candidate.params}
            metrics = self.evaluate(params).metrics
            optimizer.tell(candidate.id, metrics)
            self.trials.append({"params": params, "metrics": metrics})

    def evaluate(self, params: dict[str, Any]) -> Result:
        """One trial; the same chromosome comes out the same."""
        return evaluate(
            self.task,
            params,
            device=self.device,
            network=self.network,
            epochs=self.epochs,
            seed=self.seed,
        )

    def winner(self) -> Trial:
        """The smallest network that is accurate enough, else the most accurate one."""
        name = self.task.metric_name
        floor = self.trials[0]["metrics"][f"baseline_{name}"] - TOLERANCE
        good = [t for t in self.trials if t["metrics"][name] >= floor]
        if good:
            return min(good, key=lambda t: t["metrics"]["size_kb"])
        return max(self.trials, key=lambda t: t["metrics"][name])


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


WAYS = {f.__name__: f for f in (joint, prune_then_quantize, quantize_then_prune)}


def hypervolume(trials: list[Trial], name: str, full_kb: float) -> float:
    """Share of the box from (baseline - DEPTH, uniform int8) to (1, 0) that trials dominate."""
    base = float(trials[0]["metrics"][f"baseline_{name}"])
    losses = [
        ((base - t["metrics"][name]) / DEPTH, t["metrics"]["size_kb"] / full_kb) for t in trials
    ]
    best = (base - 1.0) / DEPTH
    volume = ga.hypervolume(np.array(losses), np.array([1.0, 1.0]))
    return float(volume) / (1.0 - best)


def front(trials: list[Trial], name: str) -> list[tuple[float, float]]:
    points = sorted({(t["metrics"]["size_kb"], -t["metrics"][name]) for t in trials})
    kept: list[tuple[float, float]] = []
    for size, loss in points:
        if not kept or loss < -kept[-1][1]:
            kept.append((size, -loss))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--device", default="stm32f746")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    task = load_task(args.task, args.data)
    network, device = trace(task), load_device(args.device)
    full_kb = cost_function(network, device)({})["size_kb"]
    name = task.metric_name
    settings = {"task": args.task, "trials": args.trials, "epochs": args.epochs}
    record: dict[str, Any] = dict(settings)
    if args.output and args.output.exists():
        found = json.loads(args.output.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in settings} != settings:
            raise ValueError(f"{args.output} holds another comparison: give another --output")
        record = found
    print(f"{task.name}: {args.trials} trials of {args.epochs} epochs, int8 {full_kb:.1f} KB")
    base, base_test = baseline_metric(task), score(task, task.model, task.test, "test")
    # Seeds outside, so that an interrupted run has compared all ways on the seeds it did.
    for seed in range(args.seeds):
        for way, strategy in WAYS.items():
            key = f"{way}-{seed}"
            if key not in record:
                start = time.process_time()
                search = Search(task, network, device, args.epochs, seed)
                strategy(search, args.trials)
                winner = search.winner()
                model = search.evaluate(winner["params"]).model
                record[key] = {
                    "front": front(search.trials, name),
                    "hypervolume": hypervolume(search.trials, name, full_kb),
                    "winner_kb": winner["metrics"]["size_kb"],
                    "winner_val": winner["metrics"][name],
                    "winner_test": score(task, model, task.test, "test"),
                    "cpu_s": round(time.process_time() - start),
                }
                if args.output:
                    args.output.write_text(json.dumps(record, indent=1), encoding="utf-8")
            row = record[key]
            print(
                f"seed {seed} {way:20s} hypervolume {row['hypervolume']:.4f}, winner "
                f"{row['winner_kb']:6.2f} KB, {row['winner_val'] - base:+.4f} on val, "
                f"{row['winner_test'] - base_test:+.4f} on test, {len(row['front'])} on the front, "
                f"{row['cpu_s']} CPU s",
                flush=True,
            )
    for way in WAYS:
        rows = [record[f"{way}-{seed}"] for seed in range(args.seeds)]
        volumes = [row["hypervolume"] for row in rows]
        spread = statistics.stdev(volumes) if len(volumes) > 1 else 0.0
        test = statistics.mean(row["winner_test"] - base_test for row in rows)
        print(
            f"{way:20s} hypervolume {statistics.mean(volumes):.4f} +- {spread:.4f}; winners "
            f"{statistics.mean(row['winner_kb'] for row in rows):.2f} KB, {test:+.4f} on test"
        )


if __name__ == "__main__":
    main()
