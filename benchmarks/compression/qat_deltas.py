"""What uniform w8a8 and w4a8 cost each task after one epoch of fine-tuning, no pruning.

    python -m benchmarks.compression.qat_deltas 'evaluators.tasks.skab:build' \
        --data ../shared/data --seeds 0 1 2

Prints one line per run and the mean difference to the float baseline, in points of the metric, on
the validation and on the test split.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from evaluators import evaluate, load_task, trace
from evaluators.training import score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--device", default="stm32l4r5")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4], help="of the weights")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--no-test", action="store_true", help="score the validation split only")
    options = parser.parse_args()
    torch.set_num_threads(1)

    task = load_task(options.task, data=options.data)
    network = trace(task)
    splits = {"val": task.val} if options.no_test else {"val": task.val, "test": task.test}
    float_scores = {name: score(task, task.model, split) for name, split in splits.items()}
    print(f"{task.name}: float {task.metric_name} {float_scores}", flush=True)
    for bits in options.bits:
        params = {f"{layer}.w_bits": bits for layer in network.gene_layers}
        differences: dict[str, list[float]] = {name: [] for name in splits}
        for seed in options.seeds:
            start = time.process_time()
            result = evaluate(
                task,
                params,
                device=options.device,
                network=network,
                epochs=options.epochs,
                seed=seed,
            )
            spent = time.process_time() - start
            for name, split in splits.items():
                value = score(task, result.model, split)
                differences[name].append(100.0 * (value - float_scores[name]))
            points = {name: round(values[-1], 2) for name, values in differences.items()}
            print(f"  w{bits}a8 seed {seed}: {points}, {spent:.0f} CPU s", flush=True)
        for name, values in differences.items():
            spread = f" +- {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
            print(
                f"  w{bits}a8 {name}: {np.mean(values):+.2f}{spread} points, mean of {len(values)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
