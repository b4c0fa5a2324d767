"""What ways to compress a network measured: a row for each training, and tables of them.

Rows are appended to a CSV as they come. What it holds is not trained again, so that an interrupted
comparison goes on where it was. A network that two ways ask for is trained once and is a row of
both. Costs are not in the file: they follow from the chromosome, on any device.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.csv_rows import append_row
from hardware import Network, cost_function, load_device
from hardware.ir.gene_kinds import kind_of

FLOAT, TRIAL, FINAL = "float", "trial", "final"

Params = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One training, or the float baseline.

    Attributes:
        task: as `load_task` takes it.
        kind: ``float``, ``trial``, or ``final``: of the network that a way chose.
        way: who asked for it.
        seed: of the search.
        training_seed: of this training.
        epochs: of this training.
        val: the task's metric.
        test: the same, or None: trials are not looked at there.
        cpu_s: what it took; 0 if another way had it trained.
        params: genes that compress something.
    """

    task: str
    kind: str
    way: str
    seed: int
    training_seed: int
    epochs: int
    val: float
    test: float | None
    cpu_s: float
    params: Params

    @property
    def training(self) -> tuple[object, ...]:
        """What the result depends on."""
        genes = json.dumps(self.params, sort_keys=True)
        return self.task, self.kind, self.training_seed, self.epochs, genes


def compressing(params: Mapping[str, Any]) -> Params:
    """The genes of a chromosome that compress something, in alphabetical order."""
    kinds = {key: kind_of(key) for key in sorted(params)}
    return {k: params[k] for k, kind in kinds.items() if not (kind and kind.is_neutral(params[k]))}


class Book:
    """The rows of a file, or of this run only.

    Args:
        path: of the CSV; None: nothing is kept.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows = read(path) if path is not None and path.exists() else []

    def get(self, wanted: Row, measure: Callable[[], tuple[float, float | None]]) -> Row:
        """The row of a training, from the file or measured now.

        Args:
            wanted: its ``val``, ``test`` and ``cpu_s`` don't matter.
            measure: returns the metric on ``val`` and, of finals, on ``test``.
        """
        same = [row for row in self.rows if row.training == wanted.training]
        own = [row for row in same if (row.way, row.seed) == (wanted.way, wanted.seed)]
        if own:
            return own[0]
        if same:
            val, test, spent = same[0].val, same[0].test, 0.0
        else:
            start = time.process_time()
            val, test = measure()
            spent = time.process_time() - start
        values = {"val": round(val, 6), "test": test and round(test, 6), "cpu_s": round(spent, 1)}
        row = Row(**{**asdict(wanted), **values})
        self.rows.append(row)
        if self.path is not None:
            append_row(self.path, {**asdict(row), "params": json.dumps(row.params)}, COLUMNS)
        return row


COLUMNS = tuple(field.name for field in fields(Row))


def read(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        ValueError: it has other columns.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path} holds another comparison: give another --output")
        return [
            Row(
                line["task"], line["kind"], line["way"], int(line["seed"]),
                int(line["training_seed"]), int(line["epochs"]), float(line["val"]),
                float(line["test"]) if line["test"] else None, float(line["cpu_s"]),
                json.loads(line["params"]),
            )
            for line in reader
        ]  # fmt: skip


def table(rows: Sequence[Row], network: Network, devices: Sequence[str], float_kb: float) -> str:
    """Markdown: the float network and each way's finals, with the costs on each device.

    A row is of one search; its accuracies are means over its trainings.
    """
    costs = {name: cost_function(network, load_device(name)) for name in devices}
    shared = ["network", "val", "test, mean (each training)", "weights, KB", "RAM, KB"]
    own = [f"{what} on {name}" for name in devices for what in ("flash, KB", "ms", "mJ")]
    lines = ["| " + " | ".join(shared + own) + " |", "|---" * len(shared + own) + "|"]
    for row in (row for row in rows if row.kind == FLOAT):
        cells = ["float", f"{row.val:.4f}", f"{row.test:.4f}", f"{float_kb:.1f}"]
        lines.append("| " + " | ".join(cells + [""] * (1 + len(own))) + " |")
    finals: dict[tuple[str, int], list[Row]] = {}
    for row in (row for row in rows if row.kind == FINAL):
        finals.setdefault((row.way, row.seed), []).append(row)
    for (way, seed), trained in finals.items():
        found = [cost(trained[0].params) for cost in costs.values()]
        tests = [row.test or 0.0 for row in trained]
        each = ", ".join(f"{test:.4f}" for test in tests)
        cells = [
            f"{way}, seed {seed}",
            f"{sum(row.val for row in trained) / len(trained):.4f}",
            f"{sum(tests) / len(tests):.4f} ({each})",
            f"{found[0]['size_kb']:.1f}",
            f"{found[0]['ram_kb']:.1f}",
        ]
        for cost in found:
            cells += [f"{cost[name]:.2f}" for name in ("flash_kb", "latency_ms", "energy_mj")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
