"""One int8 and one pruned trial of each task that is no image classification.

``python -m benchmarks.compression.task_shapes --data DIR`` prints a Markdown table. The pruned
trial loses the row's share of every channel group, and all weights but the last layer's have 4
bits. DIR holds ``kws_arabic.npz`` and ``cwru_de12k.npz``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from evaluators import evaluate, load_task
from evaluators.baseline import baseline_metric
from evaluators.training import score
from hardware import Network

CONFIGS = Path(__file__).resolve().parents[2] / "experiment_configs"
ROWS = {
    "detection": ("detection:build", "stm32f746", 0.5),
    "segmentation": ("segmentation:build", "stm32f746", 0.25),
    "kwt": ("kws:build_transformer", "stm32l4r5", 0.25),
    "kws_gru": ("kws:build_gru", "stm32l4r5", 0.25),
    "cwru": ("cwru:build", "stm32l4r5", 0.25),
}
"""Task, device and share of pruned channels, by the name of the search space."""
HEAD = (
    "Task", "Metric", "Float, test", "Float", "int8", "KB", "ms",
    "Channels cut", "Pruned", "KB", "ms",
)  # fmt: skip
COSTS = ("size_kb", "latency_ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("|", " | ".join(HEAD), "|")
    print("|---" * len(HEAD) + "|")
    for name, (builder, device, ratio) in ROWS.items():
        needed = args.data if builder.startswith(("kws", "cwru")) else None
        task = load_task(f"evaluators.tasks.{builder}", needed)
        network = Network.load(CONFIGS / f"{name}.space.network.json")
        pruned: dict[str, object] = {f"{g.name}.prune": ratio for g in network.groups if g.prunable}
        pruned |= {f"{layer}.w_bits": 4 for layer in network.gene_layers[:-1]}
        test = score(task, task.model, task.test, "test")
        figures = [f"{value:.3f}" for value in (test, baseline_metric(task))]
        cells = [f"`{builder}`", task.metric_name, *figures]
        for params in ({}, pruned):
            found = evaluate(task, params, device=device, network=network).metrics
            cells += [f"{100 * ratio:.0f} %"] if params else []
            cells += [f"{found['default']:.3f}", *(f"{found[k]:.1f}" for k in COSTS)]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
