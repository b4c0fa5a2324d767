"""What ending clear trials early saves, and what it costs, on recorded learning curves.

    python -m benchmarks.compression.early_end evaluators.tasks.digits:build -o curves.jsonl

Trains random chromosomes for all their epochs once (an interrupted run goes on), then lets the
judge of `evaluators.fine_tuning.early_stopping` look at the curves. A wrong end is one of a
network that would have come within the tolerated loss, or one whose last score would have been
better than the one it was ended at, which is given in points.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluators import Task, evaluate, load_task, trace
from evaluators.fine_tuning.early_stopping import Judge
from hardware import load_device
from nni_plugin.search_space import for_network

SHARES = (0.1, 0.2, 0.3, 0.5)


def record(task: Task, device: Any, count: int, epochs: int, path: Path) -> list[dict[str, Any]]:
    """Curves of random chromosomes: post-training score, each epoch, last is the final metric."""
    network = trace(task)
    space = for_network(network, device)
    rng = random.Random(0)
    done = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    curves: list[dict[str, Any]] = [json.loads(line) for line in done]
    for number in range(count):
        # From mild to strong, as a search visits them.
        level = rng.random()
        params = {
            key: gene["_value"][_draw(rng, level, len(gene["_value"]), key.endswith(".prune"))]
            for key, gene in space.items()
        }
        if number < len(curves):
            continue
        scores: list[float] = []

        def note(metrics: dict[str, float], scores: list[float] = scores) -> None:
            scores.append(metrics[task.metric_name])

        evaluate(task, params, device=device, network=network, epochs=epochs, report=note)
        curves.append({"scores": scores[1:], "baseline": task.baseline_metric})
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(curves[-1]) + "\n")
    return curves


def _draw(rng: random.Random, level: float, count: int, prunes: bool) -> int:
    """An index near ``level``; prune ratios are listed upwards and bits too."""
    index = round((level if prunes else 1.0 - level) * (count - 1) + rng.gauss(0.0, 0.3 * count))
    return min(max(index, 0), count - 1)


def judged(task: Task, curves: list[dict[str, Any]], share: float) -> str:
    """One line on what the judge would have done."""
    saved = total = ended = hopeful = 0
    losses = []
    for curve in curves:
        scores = curve["scores"]
        epochs = len(scores) - 1
        judge = Judge(replace(task, early_end=share), curve["baseline"], epochs)
        total += epochs
        for trained, value in enumerate(scores[:-1]):
            if judge.verdict(value) is not None:
                ended += 1
                saved += epochs - trained
                losses.append(judge.sign * (scores[-1] - value))
                floor = judge.goal - share * abs(curve["baseline"])
                hopeful += value * judge.sign < floor <= judge.sign * scores[-1]
                break
    mean = 100 * float(np.mean(losses)) if losses else 0.0
    return (
        f"early_end={share}: {ended} of {len(curves)} ended, {saved} of {total} epochs saved, "
        f"{hopeful} that would have come within it; their metric would have grown by "
        f"{mean:.1f} points on average"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--device", default="stm32f746")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.jsonl"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(args.task, args.data)
    curves = record(task, load_device(args.device), args.count, args.epochs, args.output)
    for share in SHARES:
        print(judged(task, curves, share), flush=True)


if __name__ == "__main__":
    main()
