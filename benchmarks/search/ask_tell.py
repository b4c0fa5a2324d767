"""The optimizer's own time per trial: `PYTHONPATH=. python benchmarks/search/ask_tell.py`.

Prints the median and the 95th percentile of ask and of tell after a number of results were told,
and the process's peak memory. `--informed` tells it sensitivities of all genes, so that knapsack
and believed front take part; `--slots` keeps so many candidates in flight. With `--growth` it
does so for growing histories (at 200 genes) and growing spaces (after 1,000 results), with and
without the surrogate, into `results/ask-tell.csv` and a plot; what is there is kept.
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import pandas as pd

import ga

GROWTH = Path(__file__).parent / "results" / "ask-tell.csv"
HISTORIES = (100, 300, 1000, 3000, 10000)
GENES = (20, 50, 100, 200, 500)


def space_of(genes: int) -> ga.SearchSpace:
    """A compression space with about this many genes."""
    listed: list[ga.Gene] = []
    for layer in range((genes + 2) // 3):
        listed += [
            ga.Ordered(f"l{layer}.prune", tuple(i / 8 for i in range(8))),
            ga.Ordered(f"l{layer}.w_bits", (2, 4, 8)),
            ga.Ordered(f"l{layer}.a_bits", (4, 8)),
        ]
    return ga.SearchSpace(listed[:genes])


def costs(params: dict[str, float]) -> dict[str, float]:
    """A cheap stand-in for a cost model: weights and operations."""
    size = sum(8.0 - v if i % 3 == 0 else v for i, v in enumerate(params.values()))
    return {"size_kb": size, "latency_ms": size**0.9 + params["l0.prune"]}


def trial(params: dict[str, float], rng: random.Random) -> dict[str, float]:
    """Costs and an accuracy that layers lower unevenly, with some noise."""
    lost = sum((v if i % 3 == 0 else 0.5 / v) / (1 + i % 7) for i, v in enumerate(params.values()))
    return {"accuracy": 1 - lost / len(params) + rng.gauss(0, 0.002), **costs(params)}


def sensitivities(space: ga.SearchSpace) -> dict[str, dict[float, float]]:
    """What each value of each gene loses, as `trial` has it."""
    losses: dict[str, dict[float, float]] = {}
    for i, locus in enumerate(space.loci):
        values = getattr(locus.gene, "values", ())
        losses[locus.gene.name] = {
            v: (v if i % 3 == 0 else 0.5 / v - 0.5 / max(values)) / (1 + i % 7) / len(space)
            for v in values
        }
    return losses


def measure(
    genes: int,
    results: int,
    repeats: int,
    slots: int = 1,
    *,
    informed: bool = False,
    **options: Any,
) -> tuple[list[float], list[float]]:
    """CPU seconds of ask and of tell, `repeats` times, after `results` were told."""
    rng = random.Random(0)
    space = space_of(genes)
    optimizer = ga.Optimizer(
        space,
        {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"},
        costs=costs,
        sensitivities=sensitivities(space) if informed else None,
        **options,
    )
    for _ in range(results):
        params = space.decode(space.sample(rng))
        optimizer.inject(params, trial(params, rng))
    for _ in range(20):  # takes the results in, and what is left of the initial design
        optimizer.fail(optimizer.ask().id)
    running = [optimizer.ask() for _ in range(slots - 1)]
    asked, told = [], []
    for _ in range(repeats):
        begin = time.process_time()
        running.append(optimizer.ask())
        asked.append(time.process_time() - begin)
        done = running.pop(0)
        metrics = trial(done.params, rng)
        begin = time.process_time()
        optimizer.tell(done.id, metrics)
        told.append(time.process_time() - begin)
    return asked, told


def growth(repeats: int) -> None:
    """Measures every point of the plot that is not there yet."""
    points = [(200, results) for results in HISTORIES] + [(genes, 1000) for genes in GENES]
    if not GROWTH.exists():
        GROWTH.write_text("surrogate,genes,results,median_ms,late_ms\n", encoding="utf-8")
    there = pd.read_csv(GROWTH)[["surrogate", "genes", "results"]]
    done = set(there.itertuples(index=False, name=None))
    for surrogate in ("none", "auto"):
        for genes, results in dict.fromkeys(points):
            if (surrogate, genes, results) in done:
                continue
            asked, told = measure(genes, results, repeats, surrogate=surrogate)
            seconds = sorted(a + t for a, t in zip(asked, told, strict=True))
            median, late = statistics.median(seconds), seconds[int(0.95 * len(seconds))]
            row = [surrogate, genes, results, f"{1000 * median:.2f}", f"{1000 * late:.2f}"]
            with GROWTH.open("a", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(row)
            print(*row, flush=True)
    plot(pd.read_csv(GROWTH))


def plot(rows: pd.DataFrame) -> None:
    """Median time against history and against genes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for surrogate, own in rows.groupby("surrogate"):
        label = "plain GA" if surrogate == "none" else "with surrogate"
        history = own[own.genes == 200].sort_values("results")
        width = own[own.results == 1000].sort_values("genes")
        left.plot(history["results"], history["median_ms"], "o-", label=label)
        right.plot(width["genes"], width["median_ms"], "o-", label=label)
    left.set(xlabel="results told (200 genes)", ylabel="ask + tell, median ms of CPU")
    right.set(xlabel="genes (1,000 results)")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(GROWTH.with_suffix(".png"), dpi=90, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=200)
    parser.add_argument("--results", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--surrogate", choices=["none", "auto", "trees", "gp"], default="auto")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--informed", action="store_true", help="told sensitivities of all genes")
    parser.add_argument("--growth", action="store_true", help="the whole plot")
    args = parser.parse_args()
    if args.growth:
        growth(args.repeats)
        return
    asked, told = measure(
        args.genes, args.results, args.repeats, args.slots, informed=args.informed,
        surrogate=args.surrogate,
    )  # fmt: skip
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{args.genes} genes, {args.results} results, surrogate {args.surrogate}"
        f"{', informed' if args.informed else ''}, {args.slots} in flight: {_said('ask', asked)}, "
        f"{_said('tell', told)}, peak memory {peak_mb:.0f} MB"
    )


def _said(what: str, seconds: list[float]) -> str:
    late = sorted(seconds)[int(0.95 * len(seconds))]
    return f"{what} median {1000 * statistics.median(seconds):.1f} ms, 95% {1000 * late:.1f} ms"


if __name__ == "__main__":
    main()
