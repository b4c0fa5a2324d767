"""Train every chromosome of a table: `PYTHONPATH=. python benchmarks/search/make_table.py digits`.

Work is shared the way a progressive schedule would: channels are removed and the float network
recovers once per pruning; every setting of the bits then starts from that network. Each result is
appended to `tables/NAME.csv` at once, so the run can be stopped and started again; `--publish` (or
the end) compresses the file to `tables/NAME.csv.xz`.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tables import COSTS, FOLDER, TABLES, TableSpace, load
from torch import nn

from evaluators import load_task, nni_imports, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import prune
from evaluators.compression.qat import FakeQuantizer
from evaluators.fine_tuning.distillation import Teacher
from evaluators.task import Batches, Task
from evaluators.training import (
    annealing,
    call,
    channels_last,
    length,
    reestimate_batch_norm,
    score,
    train_epoch,
)
from hardware import cost_function, load_device


class Next:
    """The next batches of an endless run over a split, a few at each pass."""

    def __init__(self, batches: Batches) -> None:
        self.steps = 0
        self._source = self._endless(batches)

    @staticmethod
    def _endless(batches: Batches) -> Iterator[tuple[Any, Any]]:
        while True:
            yield from batches

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (next(self._source) for _ in range(self.steps))


class Maker:
    """Trains chromosomes of one table.

    Args:
        table: Which.
        data: The task's data, if it needs some.
    """

    def __init__(self, table: TableSpace, data: str | None = None) -> None:
        torch.set_num_threads(1)
        self.table, self.task = table, load_task(table.task, data)
        self.network = trace(self.task)
        # Smaller batches than the task's own give more steps for the same time.
        self._batches = copy.copy(self.task.train)
        self._batches.batch_size = table.batch_size  # type: ignore[attr-defined]  # ArrayBatches
        self._pruned: dict[tuple[float, ...], nn.Module] = {}

    def accuracies(self, chromosome: tuple[float, ...]) -> list[float]:
        """On val at every rung, and on test after the last one."""
        params = self.table.trial_params(chromosome)
        candidate = read_candidate(self.network, params)
        model = copy.deepcopy(self._recovered(chromosome))
        task = self.task
        found: list[float] = []

        def note() -> None:
            found.append(score(task, model, task.val))

        def train(model: nn.Module, optimizer: Any, *_: Any, **__: Any) -> None:
            torch.manual_seed(0)
            quantizer.calibrate(self._batches, limit=4)
            note()
            scales = quantizer.learned_scales()
            if scales:
                optimizer.add_param_group({"params": scales})
            schedule = annealing("cosine", optimizer, self.table.rungs[-1])
            batches, done = Next(self._batches), 0
            for rung in self.table.rungs[1:]:
                batches.steps, done = rung - done, rung
                self._epoch(model, batches, optimizer, schedule)
                note()
            found.append(score(task, model, task.test))

        nni = nni_imports.import_nni()
        adam = nni.trace(torch.optim.Adam)(model.parameters(), lr=self.table.learning_rate)
        evaluator = nni_imports.nni_utils().TorchEvaluator(
            train, adam, lambda batch, model: task.loss(call(model, batch[0]), batch[1])
        )
        quantizer = FakeQuantizer(model, candidate.bits, evaluator)
        try:
            quantizer.compress(1)
        finally:
            quantizer.unwrap()
        return found

    def _recovered(self, chromosome: tuple[float, ...]) -> nn.Module:
        """The float network of a chromosome's pruning, trained until it is at rest again."""
        genes = zip(self.table.values, chromosome, strict=True)
        key = tuple(value for name, value in genes if name.endswith(".prune"))
        if key not in self._pruned:
            self._pruned[key] = self._recover(chromosome)
        return self._pruned[key]

    def _recover(self, chromosome: tuple[float, ...]) -> nn.Module:
        task, candidate = self.task, read_candidate(self.network, self._pruning(chromosome))
        torch.manual_seed(0)
        model = prune(
            task.model, task.inputs, self.network, candidate.kept, candidate.layers, task=task
        )
        model = channels_last(model, task.inputs)
        if not candidate.kept:
            return model
        reestimate_batch_norm(model, task.train)
        rate = task.recipe.rate_after(candidate.removed)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        schedule = annealing("cosine", optimizer, self.table.recovery * length(task.train))
        for _ in range(self.table.recovery):
            self._epoch(model, task.train, optimizer, schedule)
        return model.eval()

    def _pruning(self, chromosome: tuple[float, ...]) -> dict[str, float]:
        params = self.table.trial_params(chromosome)
        return {name: value for name, value in params.items() if name.endswith(".prune")}

    def _epoch(self, model: nn.Module, batches: Batches, optimizer: Any, schedule: Any) -> None:
        task: Task = self.task
        teacher = Teacher.of(task, model, self.network.layers)
        with teacher or nullcontext():
            train_epoch(
                model,
                batches,
                task.loss,
                optimizer,
                follow=teacher.loss if teacher else None,
                after_step=[schedule],
            )


def run(name: str, data: str | None, limit: int | None) -> None:
    """Adds what is missing of a table to its working file."""
    table = TABLES[name]
    path = FOLDER / f"{name}.csv"
    columns = [*(f"val_{rung}" for rung in table.rungs), "test"]
    if not path.exists():
        empty = pd.DataFrame(columns=[*table.values, *columns])
        there = load(name) if (FOLDER / f"{name}.csv.xz").exists() else empty
        there[[*table.values, *columns]].to_csv(path, index=False, lineterminator="\n")
    done = {tuple(row) for row in pd.read_csv(path)[list(table.values)].to_numpy().tolist()}
    maker = Maker(table, data)
    begin = time.process_time()
    for count, chromosome in enumerate(table.chromosomes()[:limit]):
        if tuple(float(v) for v in chromosome) in done:
            continue
        values = [f"{value:.5f}" for value in maker.accuracies(chromosome)]
        with path.open("a", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow([*chromosome, *values])
        if count % 100 == 99:
            print(f"{name}: {count + 1} chromosomes, {time.process_time() - begin:.0f} s of CPU")


def publish(name: str, data: str | None = None) -> Path:
    """Compresses what is there, with the costs of every chromosome on the table's device."""
    table = TABLES[name]
    network, device = trace(load_task(table.task, data)), load_device(table.device)
    costs = cost_function(network, device)
    rows = pd.read_csv(FOLDER / f"{name}.csv").drop_duplicates(list(table.values))
    genes = [tuple(row) for row in rows[list(table.values)].to_numpy().tolist()]
    known = pd.DataFrame([costs(table.trial_params(chromosome)) for chromosome in genes])
    at = len(table.values)
    for place, column in enumerate(COSTS):
        rows.insert(at + place, column, known[column].to_numpy())
    rows = rows.sort_values(list(table.values))
    path = FOLDER / f"{name}.csv.xz"
    rows.to_csv(path, index=False, lineterminator="\n")
    (FOLDER / f"{name}.csv").unlink()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--data", help="the task's data, if it needs some")
    parser.add_argument("--limit", type=int, help="only so many chromosomes (a random sample)")
    parser.add_argument(
        "--publish", action="store_true", help="compress what is there, no training"
    )
    args = parser.parse_args()
    logging.disable(logging.INFO)
    FOLDER.mkdir(exist_ok=True)
    if not args.publish:
        run(args.table, args.data, args.limit)
    print(publish(args.table, args.data))


if __name__ == "__main__":
    main()
