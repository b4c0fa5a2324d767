"""Made-up journals, for the tests of what a user sees."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SPACE = {
    "conv.prune": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
    "conv.w_bits": {"_type": "choice", "_value": [2, 4, 8]},
    "fc.w_bits": {"_type": "choice", "_value": [4, 8]},
}
START = {
    "event": "start",
    "version": 1,
    "time": 1000.0,
    "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
    "constraints": {"ram_kb": "<= 64"},
    "space": SPACE,
    "seed": 0,
}
# accuracy, size_kb, ram_kb, params: uniform int8; on the front; on it; dominated; infeasible.
RESULTS: list[tuple[float, float, float, tuple[float, int, int]]] = [
    (0.95, 40.0, 60.0, (0.0, 8, 8)),
    (0.93, 20.0, 50.0, (0.25, 4, 8)),
    (0.80, 8.0, 30.0, (0.5, 2, 4)),
    (0.79, 21.0, 40.0, (0.25, 2, 8)),
    (0.96, 7.0, 80.0, (0.5, 4, 4)),
]


def six_trials() -> list[dict[str, Any]]:
    """A run of six: five results and a failure."""
    lines: list[dict[str, Any]] = [START]
    for uid, (accuracy, size, ram, genes) in enumerate(RESULTS, 1):
        params = dict(zip(SPACE, genes, strict=True))
        lines.append({"event": "ask", "uid": uid, "params": params, "origin": "ga", "time": 1000.0})
        metrics = {
            "default": accuracy, "accuracy": accuracy, "size_kb": size, "ram_kb": ram,
            "baseline_accuracy": 0.97, "uid": uid,
        }  # fmt: skip
        lines.append(
            {"event": "tell", "uid": uid, "metrics": metrics, "trial": f"tr{uid}",
             "time": 1000.0 + 10 * uid}
        )  # fmt: skip
    lines.append({"event": "ask", "uid": 6, "params": params, "origin": "ga", "time": 1060.0})
    lines.append({"event": "fail", "uid": 6, "reason": "exit code 1", "trial": "tr6", "time": 1070})
    return lines


def write_experiment(folder: Path, lines: list[dict[str, Any]] | None = None) -> Path:
    """Writes events (by default those above) as an experiment's folder and returns it."""
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in (six_trials() if lines is None else lines))
    (folder / "checkpoint" / "journal.jsonl").write_text(text)
    return folder


def searched(trials: int, layers: int, seed: int = 0) -> list[dict[str, Any]]:
    """A run on a made-up network; the first trial is uniform int8, and one gene never varies."""
    rng = random.Random(seed)
    space: dict[str, Any] = {}
    for i in range(layers):
        space[f"layer{i}.prune"] = {"_type": "choice", "_value": [0, 0.25, 0.5]}
        space[f"layer{i}.w_bits"] = {"_type": "choice", "_value": [2, 4, 8]}
        space[f"layer{i}.a_bits"] = {"_type": "choice", "_value": [4, 8]}
    lines = [{**START, "space": space}]
    for uid in range(1, trials + 1):
        plain = {name: 0 if "prune" in name else 8 for name in space}
        params = {name: rng.choice(entry["_value"]) for name, entry in space.items()}
        params = plain if uid == 1 else {**params, "layer0.a_bits": 8}
        size = sum(
            params[f"layer{i}.w_bits"] * (1 - params[f"layer{i}.prune"]) for i in range(layers)
        )
        accuracy = round(0.6 + 0.35 * size / (8 * layers) + 0.03 * rng.random(), 4)
        size_kb = round(120 * size / (8 * layers), 3)
        metrics = {
            "default": accuracy, "accuracy": accuracy, "size_kb": size_kb,
            "ram_kb": round(20 + 50 * rng.random(), 2), "latency_ms": round(size_kb / 7, 3),
            "macs": int(1e6 * size_kb), "baseline_accuracy": 0.985, "uid": uid,
        }  # fmt: skip
        if uid == 1:
            metrics["ram_kb"] = 60.0
        began = 1000.0 + 5 * uid
        lines += [
            {"event": "ask", "uid": uid, "params": params, "origin": "ga", "time": began},
            {"event": "tell", "uid": uid, "metrics": metrics, "trial": f"tr{uid}",
             "time": began + 4},
        ]  # fmt: skip
    return lines


def plain_search(trials: int) -> list[dict[str, Any]]:
    """A run of somebody's own code that reports one number, over a learning rate and the like."""
    rng = random.Random(0)
    space = {
        "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
        "momentum": {"_type": "uniform", "_value": [0, 1]},
        "optimizer": {"_type": "choice", "_value": ["sgd", "adam"]},
        "batch": {"_type": "choice", "_value": [32]},
    }
    goals = {"default": "maximize"}
    lines: list[dict[str, Any]] = [
        {**START, "space": space, "objectives": goals, "constraints": {}}
    ]
    for uid in range(1, trials + 1):
        params = {"lr": 10 ** rng.uniform(-4, -1), "momentum": rng.random(),
                  "optimizer": rng.choice(["sgd", "adam"]), "batch": 32}  # fmt: skip
        score = 0.9 - (params["momentum"] - 0.6) ** 2 + 0.02 * rng.random()
        lines += [
            {"event": "ask", "uid": uid, "params": params, "origin": "ga", "time": 1000.0 + uid},
            {"event": "tell", "uid": uid, "metrics": {"default": score}, "trial": f"tr{uid}",
             "time": 1000.5 + uid},
        ]  # fmt: skip
    return [*lines, {"event": "end", "reason": "budget", "time": 1000.0 + 2 * trials}]
