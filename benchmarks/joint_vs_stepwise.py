"""Joint search against the usual two steps, at the same number of training epochs.

Three ways to spend the same trials, each a genetic search with the same settings: both kinds of
genes at once; channels first, then bits for the winner; bits first, then channels for the winner.
A step's winner is the smallest network within two points of the float baseline on ``val``. Fronts
and hypervolumes are over accuracy on ``val`` and flash, all trials of a way counted. Activations
stay at 8 bits: nothing in these objectives gains from fewer, so such genes could only do harm, and
only to the ways that have them from the start.

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
from evaluators import Task, evaluate, load_task, trace
from evaluators.baseline import baseline_metric
from hardware import Device, Network, cost_function, load_device
from nni_plugin.search_space import for_network, parse

TOLERANCE = 0.02
"""Accuracy that a step's winner may lose."""

Trial = dict[str, Any]


class Search:
    """One strategy's trials on one task, with one seed."""

    def __init__(
        self, task: Task, network: Network, device: Device, epochs: int, seed: int
    ) -> None:
        self.task, self.network, self.device = task, network, device
        self.epochs, self.seed = epochs, seed
        self.space = for_network(network, device, activation_bits=[8])
        self.cost = cost_function(network, device)
        self.trials: list[Trial] = []

    def run(self, trials: int, genes: Callable[[str], bool], fixed: dict[str, Any]) -> None:
        """Spends ``trials`` on the genes that ``genes`` accepts, the others as in ``fixed``."""
        space = {key: value for key, value in self.space.items() if genes(key)}
        optimizer = ga.Optimizer(
            parse(space),
            {self.task.metric_name: "maximize", "size_kb": "minimize"},
            costs=lambda params: self.cost({**fixed, **params}),
            population_size=max(8, trials // 3),
            seed=self.seed,
            budget=trials,
        )
        for _ in range(trials):
            try:
                candidate = optimizer.ask()
            except ga.SpaceExhausted:
                break
            params = {**fixed, **candidate.params}
            metrics = evaluate(
                self.task,
                params,
                device=self.device,
                network=self.network,
                epochs=self.epochs,
                seed=self.seed,
            ).metrics
            optimizer.tell(candidate.id, metrics)
            self.trials.append({"params": params, "metrics": metrics})

    def winner(self) -> dict[str, Any]:
        """Genes of the smallest network that is accurate enough, else of the most accurate."""
        name = self.task.metric_name
        floor = self.trials[0]["metrics"][f"baseline_{name}"] - TOLERANCE
        good = [t for t in self.trials if t["metrics"][name] >= floor]
        if good:
            return dict(min(good, key=lambda t: t["metrics"]["size_kb"])["params"])
        return dict(max(self.trials, key=lambda t: t["metrics"][name])["params"])


def is_prune(key: str) -> bool:
    return key.endswith(".prune")


def is_bits(key: str) -> bool:
    return not is_prune(key)


def joint(search: Search, trials: int) -> None:
    search.run(trials, lambda _: True, {})


def prune_then_quantize(search: Search, trials: int) -> None:
    search.run(trials // 2, is_prune, {})
    search.run(trials - trials // 2, is_bits, search.winner())


def quantize_then_prune(search: Search, trials: int) -> None:
    search.run(trials // 2, is_bits, {})
    search.run(trials - trials // 2, is_prune, search.winner())


WAYS = {f.__name__: f for f in (joint, prune_then_quantize, quantize_then_prune)}


def hypervolume(trials: list[Trial], name: str, full_kb: float) -> float:
    """Share of the box from (baseline - 0.3, uniform int8) to (1, 0) that the trials dominate."""
    base = float(trials[0]["metrics"][f"baseline_{name}"])
    losses = [
        ((base - t["metrics"][name]) / 0.3, t["metrics"]["size_kb"] / full_kb) for t in trials
    ]
    best = (base - 1.0) / 0.3
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
    volumes: dict[str, list[float]] = {way: [] for way in WAYS}
    base = baseline_metric(task)
    # Seeds outside, so that an interrupted run has compared all ways on the seeds it did.
    for seed in range(args.seeds):
        for way, strategy in WAYS.items():
            key = f"{way}-{seed}"
            if key not in record:
                start = time.process_time()
                search = Search(task, network, device, args.epochs, seed)
                strategy(search, args.trials)
                record[key] = {
                    "front": front(search.trials, name),
                    "hypervolume": hypervolume(search.trials, name, full_kb),
                    "cpu_s": round(time.process_time() - start),
                }
                if args.output:
                    args.output.write_text(json.dumps(record, indent=1), encoding="utf-8")
            row = record[key]
            volumes[way].append(row["hypervolume"])
            small = [size for size, value in row["front"] if value >= base - TOLERANCE]
            print(
                f"seed {seed} {way:20s} hypervolume {row['hypervolume']:.4f}, smallest within "
                f"{TOLERANCE:.0%} {min(small, default=float('nan')):6.2f} KB, "
                f"{len(row['front'])} on the front, {row['cpu_s']} CPU s",
                flush=True,
            )
    for way, values in volumes.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{way:20s} hypervolume {statistics.mean(values):.4f} +- {spread:.4f}")


if __name__ == "__main__":
    main()
