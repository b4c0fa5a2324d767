"""How lucky a reported front is, and what beliefs make of it, on the spaces of `wide.py`.

A search on noisy results reports those that were lucky. `Optimizer.beliefs` takes the luck off.
This prints, for the front of readings, by how much its accuracy is above the true one and by how
much that of the beliefs is, and how often the true one lies within the 90 % interval. "kept" is the
hypervolume of the true values of a front, as a share of that of all networks that were tried: of
the front of readings, and of `Optimizer.believed_front`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from wide import COSTS, INSTANCES, OBJECTIVES, ROOM, TOP, Instance

import ga

RESULTS = Path(__file__).with_name("results") / "luck.csv"
MARKS = (25, 50, 100)
HEADER = (
    "instance", "seed", "trials", "front", "reading_error", "belief_error", "within",
    "kept_by_readings", "kept_by_beliefs",
)  # fmt: skip
Row = Mapping[str, float]


def volume(instance: Instance, rows: Sequence[Row]) -> float:
    """Hypervolume of true values."""
    return instance.hypervolume(rows, kept=False)


def look(
    instance: Instance, optimizer: ga.Optimizer, trials: Mapping[int, Row]
) -> tuple[float, ...]:
    """Errors of a front, the share within its intervals, and what two fronts keep."""
    front = optimizer.beliefs()
    true = np.array([trials[b.evaluation.id]["true"] for b in front])
    read = np.array([trials[b.evaluation.id]["accuracy"] for b in front])
    mean = np.array([b.metrics["accuracy"] for b in front])
    low = np.array([b.low.get("accuracy", b.metrics["accuracy"]) for b in front])
    high = np.array([b.high.get("accuracy", b.metrics["accuracy"]) for b in front])
    within = float(((low <= true) & (true <= high)).mean())
    everything = volume(instance, list(trials.values()))
    believed = [b.evaluation.id for b in optimizer.believed_front()]
    kept = [
        volume(instance, [trials[number] for number in numbers]) / everything
        for numbers in ([b.evaluation.id for b in front], believed)
    ]
    return len(front), float((read - true).mean()), float((mean - true).mean()), within, *kept


def search(instance: Instance, seed: int, output: Path) -> None:
    """One search, looked at after each mark."""
    optimizer = ga.Optimizer(
        instance.space, OBJECTIVES, instance.limits, instance.costs, seed=seed, budget=max(MARKS),
        sensitivities=instance.sensitivities,
    )  # fmt: skip
    noise, trials = np.random.default_rng(1000 + seed), {}
    for count in range(1, max(MARKS) + 1):
        candidate = optimizer.ask()
        trials[candidate.id] = instance.trial(candidate.params, noise)
        told = {name: trials[candidate.id][name] for name in ("accuracy", *COSTS)}
        optimizer.tell(candidate.id, told)
        if count in MARKS and optimizer.front():
            found = look(instance, optimizer, trials)
            row = [instance.name, seed, count, *(f"{value:.5g}" for value in found)]
            with output.open("a", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if not args.output.exists():
        args.output.write_text(",".join(HEADER) + "\n", encoding="utf-8")
    done = set(pd.read_csv(args.output)[["instance", "seed"]].itertuples(index=False, name=None))
    for network, number in INSTANCES:
        for seed in range(args.seeds):
            if (f"{network}-{number}", seed) not in done:
                search(Instance(network, number), seed, args.output)
    table(pd.read_csv(args.output))


def table(rows: pd.DataFrame) -> None:
    """Means over searches."""
    print(f"accuracy between {TOP - ROOM:.2f} and {TOP:.2f} counts")
    print("| trials | searches | " + " | ".join(HEADER[3:]) + " |")
    print("|---" * (len(HEADER) - 1) + "|")
    for trials, own in rows.groupby("trials"):
        means = own[list(HEADER[3:])].mean()
        print(f"| {trials} | {len(own)} | " + " | ".join(f"{v:.4f}" for v in means) + " |")


if __name__ == "__main__":
    main()
