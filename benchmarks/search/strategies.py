"""All strategies under one budget: on tables of trained networks, and on a supernet's scores.

    PYTHONPATH=. python benchmarks/search/strategies.py table-digits table-kws --seeds 5
    PYTHONPATH=. python benchmarks/search/strategies.py digits --supernet supernet.pt --seeds 3

Appends a line per run to `results/strategies.csv` and skips runs that are there. Seeds are the
outer loop. Then the table is printed.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from compare import load
from problems import Problem
from samplers import chance, ours
from supernet_scores import OBJECTIVES, SupernetScores

import ga

RESULTS = Path(__file__).parent / "results" / "strategies.csv"
MARKS = (25, 50, 100)
GRADIENT, RANDOM, SEEDED, DIGITS = "gradient", "random", "ga from gradient seeds", "digits"
# What each is told beside the problem. The size of the population of differential evolution was
# chosen on seeds 100 to 105 of the tables (12 or 20).
OPTIONS: dict[str, dict[str, Any]] = {
    "ga": {},
    "knapsack": {},
    GRADIENT: {},
    SEEDED: {"strategy": "ga"},
    "reinforce": {},
    "de": {"population_size": 12},
    RANDOM: {},
}
COLUMNS = (
    *("problem", "strategy", "seed", "seconds"),
    *(f"val{mark}" for mark in MARKS),
    *(f"test{mark}" for mark in MARKS),
)
Row = Mapping[str, str]


def on_table(problem: Problem, strategy: str, seed: int) -> list[str]:
    """Shares of the best hypervolume after 25, 50 and 100 trials."""
    if strategy == RANDOM:
        rows = chance(problem, seed, MARKS[-1])
    else:
        rows = ours(problem, seed, MARKS[-1], strategy=strategy, **OPTIONS[strategy])
    shares = problem.quality(rows)
    return [*(f"{shares[mark - 1]:.5f}" for mark in MARKS), *([""] * len(MARKS))]


def on_supernet(scores: SupernetScores, strategy: str, seed: int, trials: int) -> list[str]:
    """Hypervolumes on val and on test after 25, 50 and 100 trials, if there are so many."""
    rows: list[dict[str, float]] = []
    if strategy == RANDOM:
        rng = random.Random(seed)
        drawn = (scores.space.decode(scores.space.sample(rng)) for _ in range(trials))
        rows = [scores.trial(params) for params in drawn]
    else:
        options = {"strategy": strategy, **OPTIONS[strategy]}
        if strategy in (GRADIENT, SEEDED):
            options["initial"] = scores.points(seed)
        optimizer = ga.Optimizer(
            scores.space, OBJECTIVES, scores.limits, scores.costs, seed=seed,
            sensitivities=scores.sensitivities, **options,
        )  # fmt: skip
        for _ in range(trials):
            candidate = optimizer.ask()
            rows.append(scores.trial(candidate.params))
            told = {name: value for name, value in rows[-1].items() if name != "test"}
            optimizer.tell(candidate.id, told)
    return [
        f"{scores.hypervolume(rows[:mark], split):.5f}" if mark <= trials else ""
        for split in ("accuracy", "test")
        for mark in MARKS
    ]


def main() -> None:
    """Measures what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help="digits, table-digits, table-kws, ...")
    parser.add_argument("--strategies", nargs="*", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=MARKS[-1], help="of digits")
    parser.add_argument("--supernet", type=Path, help="of digits")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if not args.output.exists():
        args.output.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    scores = SupernetScores(args.supernet) if DIGITS in args.problems else None
    for seed in range(args.seeds):
        for name in args.problems:
            for strategy in args.strategies:
                if (name, strategy, str(seed)) in {
                    (row["problem"], row["strategy"], row["seed"]) for row in _rows(args.output)
                }:
                    continue
                if name != DIGITS and strategy in (GRADIENT, SEEDED):
                    continue  # a table has no supernet
                begin = time.process_time()
                if name == DIGITS and scores is not None:
                    found = on_supernet(scores, strategy, seed, args.trials)
                else:
                    found = on_table(load(name), strategy, seed)
                seconds = f"{time.process_time() - begin:.1f}"
                with args.output.open("a", encoding="utf-8") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow([name, strategy, seed, seconds, *found])
    report(_rows(args.output))


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(rows: Sequence[Row]) -> None:
    """Means over seeds, and in brackets the smallest and the largest."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["problem"], row["strategy"]].append(row)
    for problem in dict.fromkeys(row["problem"] for row in rows):
        columns = [c for c in COLUMNS[4:] if any(r[c] for r in rows if r["problem"] == problem)]
        print(f"\n| {problem} | seeds | CPU s | " + " | ".join(columns) + " |")
        print("|---" * (len(columns) + 3) + "|")
        for strategy in OPTIONS:
            runs = found.get((problem, strategy))
            if not runs:
                continue
            cells = []
            for column in columns:
                values = [float(run[column]) for run in runs]
                cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
            seconds = np.mean([float(run["seconds"]) for run in runs])
            print(f"| {strategy} | {len(runs)} | {seconds:.1f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
