"""Keyword spotting at a quarter of the uniform-int8 bytes, on the test split, seed by seed.

    python -m benchmarks.compression.kws_quarter --data DIR -o quarter.jsonl

Half of every group's channels and weights of four bits, chosen by hand. An interrupted run goes on
with the seeds that are missing in the output file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from evaluators import Task, evaluate, load_task, trace
from evaluators.training import score
from hardware import Device, Network, cost_function, load_device

CHANNELS = (32, 32, 32, 32, 32)


def chromosome(network: Network, channels: list[int], bits: int) -> dict[str, Any]:
    """Trial parameters that leave so many channels in each group and weights of so many bits."""
    groups = [group for group in network.groups if group.prunable]
    params: dict[str, Any] = {
        f"{group.name}.prune": 1.0 - count / group.channels
        for group, count in zip(groups, channels, strict=True)
    }
    return params | {f"{name}.w_bits": bits for name in network.gene_layers}


def run(
    task: Task, network: Network, device: Device, params: dict[str, Any], epochs: int, seed: int
) -> dict[str, float]:
    """One seed's row: metrics on both splits, and the costs as shares of uniform int8."""
    start = time.process_time()
    int8 = cost_function(network, device)({})
    result = evaluate(task, params, device=device, network=network, epochs=epochs, seed=seed)
    costs = result.metrics
    return {
        "seed": seed,
        "val": costs["accuracy"],
        "test": score(task, result.model, task.test, "test"),
        "size_kb": costs["size_kb"],
        "size": costs["size_kb"] / int8["size_kb"],
        "latency": costs["latency_ms"] / int8["latency_ms"],
        "cpu_s": time.process_time() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="stm32f746")
    parser.add_argument("--channels", type=int, nargs="+", default=list(CHANNELS))
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="of the task")
    parser.add_argument("-o", "--output", type=Path, default=Path("kws_quarter.jsonl"))
    args = parser.parse_args()
    task = load_task("evaluators.tasks.kws:build", args.data)
    for name, _, value in (part.partition("=") for part in args.set):
        setattr(task, name, type(getattr(task, name))(value))
    network, device = trace(task), load_device(args.device)
    params = chromosome(network, args.channels, args.bits)
    settings = {"params": params, "epochs": args.epochs, "set": args.set, "device": args.device}
    base = score(task, task.model, task.test, "test")
    done = args.output.read_text(encoding="utf-8").splitlines() if args.output.exists() else []
    rows = {r["seed"]: r for r in map(json.loads, done) if r["settings"] == settings}
    for seed in args.seeds:
        if seed not in rows:
            row = run(task, network, device, params, args.epochs, seed)
            rows[seed] = {**row, "settings": settings}
            with args.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[seed]) + "\n")
        r = rows[seed]
        print(
            f"seed {seed}: val {r['val']:.4f}, test {r['test']:.4f} (float {base:.4f}), "
            f"{r['size_kb']:.2f} KB = {r['size']:.3f} of int8, latency {r['latency']:.3f} of "
            f"int8, {r['cpu_s']:.0f} CPU s",
            flush=True,
        )
    for split in ("val", "test"):
        values = [rows[seed][split] for seed in args.seeds]
        print(f"mean {split} {statistics.mean(values):.4f}")
    change = statistics.mean([rows[seed]["test"] for seed in args.seeds]) - base
    print(f"test against float: {100 * change:+.2f} points")


if __name__ == "__main__":
    main()
