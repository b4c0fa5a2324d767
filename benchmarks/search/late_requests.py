"""Where late requests lie: `PYTHONPATH=. python benchmarks/search/late_requests.py`.

A forecast's mean is drawn up by a lucky result, so late requests might crowd around one network.
For requests 76 to 100 of a search this counts steps to what was asked before (a step is one place
in a gene's list of values), how many lie within two steps of the one earlier network that has the
most of them, and which part of the front of the first 75 has such a request within two steps.
Appends to `results/late-requests.csv`; what is there is kept.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wide
from compare import load
from samplers import ours

import ga

RESULTS = Path(__file__).with_name("results") / "late-requests.csv"
HEADER = ("problem", "seed", "genes", "nearest", "at_one", "front", "front_near")
TABLES = ("table-kws", "table-kws-limited", "table-digits-limited")
WIDE = {"mobilenetv1-0": ("mobilenetv1", 0), "resnet20-0": ("resnet20", 0)}
EARLY, ALL, NEAR = 75, 100, 2


def search(name: str, seed: int) -> list[Any]:
    """A row of the results, of one search."""
    options: dict[str, Any] = {}
    if name in WIDE:
        instance = wide.Instance(*WIDE[name])
        problem = instance.problem(np.random.default_rng(1000 + seed))
        options["costs"] = instance.costs
    else:
        problem = load(name)
    asked: list[Any] = []
    trial = problem.evaluate

    def kept(params: Any) -> dict[str, float]:
        asked.append(dict(params))
        return trial(params)

    space = problem.space()
    tapped = replace(problem, evaluate=kept, price=problem.price or trial)
    rows = ours(tapped, seed, ALL, **options)
    places = np.array([space.encode(params) for params in asked])
    steps = np.abs(places[EARLY:, None] - places[None]).sum(axis=2)
    before = np.tril(np.ones_like(steps, dtype=bool), EARLY - 1)
    nearest = np.where(before, steps, np.inf).min(axis=1)
    near = steps[:, :EARLY] <= NEAR
    bounds = ga.parse_constraints(problem.constraints)
    within = [i for i in range(EARLY) if not ga.violation(bounds, rows[i])]
    front = ga.nondominated(np.array([problem.losses(rows[i]) for i in within]))
    reached = near[:, np.array(within)[front]].any(axis=0)
    shares = f"{near.mean(axis=0).max():.4f}", int(front.sum()), f"{reached.mean():.4f}"
    return [name, seed, len(space.loci), float(np.median(nearest)), *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    if not RESULTS.exists():
        RESULTS.write_text(",".join(HEADER) + "\n", encoding="utf-8")
    done = set(pd.read_csv(RESULTS)[["problem", "seed"]].itertuples(index=False, name=None))
    for name in (*TABLES, *WIDE):
        for seed in range(1 if name in WIDE else args.seeds):
            if (name, seed) not in done:
                wide.append(RESULTS, search(name, seed))
    heads = "steps to the nearest earlier one | within two steps of the same one"
    print(f"| problem | genes | searches | {heads} | front after 75 | of it, near a late request |")
    print("|---" * 7 + "|")
    for name, own in pd.read_csv(RESULTS).groupby("problem", sort=False):
        means = f"{own.nearest.mean():.0f} | {own.at_one.mean():.0%} | {own.front.mean():.0f}"
        counts = f"{own.genes.iloc[0]} | {len(own)}"
        print(f"| {name} | {counts} | {means} | {own.front_near.mean():.0%} |")


if __name__ == "__main__":
    main()
