"""The optimizer's own time per trial: `python benchmarks/search/ask_tell.py`.

Prints the median and the 95th percentile of ask + tell after a number of results were told.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

import ga


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


def measure(genes: int, results: int, repeats: int, **options: object) -> list[float]:
    """CPU seconds of ask + tell, `repeats` times, after `results` were told."""
    rng = random.Random(0)
    optimizer = ga.Optimizer(
        space_of(genes),
        {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"},
        costs=costs,
        **options,  # type: ignore[arg-type]
    )
    for _ in range(results):
        params = optimizer.space.decode(optimizer.space.sample(rng))
        optimizer.inject(params, trial(params, rng))
    for _ in range(20):  # takes the results in, and what is left of the initial design
        optimizer.fail(optimizer.ask().id)
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        candidate = optimizer.ask()
        asked = time.process_time() - begin
        metrics = trial(candidate.params, rng)
        begin = time.process_time()
        optimizer.tell(candidate.id, metrics)
        seconds.append(asked + time.process_time() - begin)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=200)
    parser.add_argument("--results", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--surrogate", choices=["none", "auto", "trees", "gp"], default="auto")
    args = parser.parse_args()
    options = {"surrogate": args.surrogate}
    seconds = sorted(measure(args.genes, args.results, args.repeats, **options))
    late = seconds[int(0.95 * len(seconds))]
    print(
        f"{args.genes} genes, {args.results} results, surrogate {args.surrogate}: ask + tell "
        f"median {1000 * statistics.median(seconds):.2f} ms, 95% {1000 * late:.2f} ms"
    )


if __name__ == "__main__":
    main()
