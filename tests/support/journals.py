"""Made-up journals, for the tests of what a user sees."""

from __future__ import annotations

import json
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
