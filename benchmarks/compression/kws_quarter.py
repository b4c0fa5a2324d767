"""Keyword spotting at a quarter of the uniform-int8 bytes: half the channels, four-bit weights.

Run: python -m benchmarks.compression.kws_quarter --data DIR
"""

from __future__ import annotations

import argparse
import statistics
import time

from evaluators import evaluate, load_task, trace
from evaluators.training import score
from hardware import cost_function, load_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="stm32f746")
    parser.add_argument("--prune", type=float, default=0.5)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--distillation", type=float, default=0.7)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    task = load_task("evaluators.tasks.kws:build", args.data)
    task.pruned_learning_rate, task.distillation = args.learning_rate, args.distillation
    network, device = trace(task), load_device(args.device)
    params = {f"{g.name}.prune": args.prune for g in network.groups if g.prunable}
    params |= {f"{name}.w_bits": args.bits for name in network.gene_layers}
    int8 = cost_function(network, device)({})
    base = score(task, task.model, task.test, "test")
    values = []
    for seed in args.seeds:
        start = time.process_time()
        result = evaluate(
            task, params, device=device, network=network, epochs=args.epochs, seed=seed
        )
        values.append(score(task, result.model, task.test, "test"))
        m = result.metrics
        print(
            f"seed {seed}: val {m['accuracy']:.4f}, test {values[-1]:.4f} (float {base:.4f}), "
            f"{m['size_kb']:.2f} KB = {m['size_kb'] / int8['size_kb']:.3f} of int8, latency "
            f"{m['latency_ms'] / int8['latency_ms']:.3f} of int8, "
            f"{time.process_time() - start:.0f} CPU s",
            flush=True,
        )
    change = statistics.mean(values) - base
    print(f"mean test {statistics.mean(values):.4f}, change {100 * change:+.2f} points")


if __name__ == "__main__":
    main()
