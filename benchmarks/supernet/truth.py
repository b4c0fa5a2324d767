"""How well cheap scores tell the accuracy of finished networks, on random chromosomes.

    python -m benchmarks.supernet.truth --task evaluators.tasks.digits:build \
        --space experiment_configs/digits.space.json --supernet supernet.pt --output truth.csv

Each network is scored after each number of epochs from the float weights (the largest number is
the truth) and from the supernet. Zero-shot proxies of the rounded weights of no epoch give an order
only. Rows are appended; what the file holds already is not done again, so a later call with more
chromosomes or seeds extends it. The table is of all rows in the file.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import kendalltau

from benchmarks.csv_rows import append_row
from benchmarks.supernet.proxies import PROXIES
from evaluators import Task, evaluate, load_task
from evaluators.compression.quantization import strip
from evaluators.supernet.weights import Supernet
from evaluators.task_checks import first_batch
from evaluators.training import score
from hardware import Network
from hardware.ir.gene_kinds import PRUNE

COLUMNS = (
    "task", "chromosome", "start", "epochs", "seed", "val", "test", "size_kb", "cpu_s"
)  # fmt: skip
FLOAT = "float"
BOOTSTRAPS = 2000

Row = dict[str, str]
Scores = Mapping[int, float]


def chromosome(space: Mapping[str, Sequence[float]], number: int) -> dict[str, float]:
    """The chromosome of a number: every other one has all genes near a common level."""
    rng = random.Random(f"chromosome {number}")
    level, alike = rng.random(), number % 2 == 1
    found = {}
    for gene, values in space.items():
        ordered = sorted(values, reverse=not PRUNE.owns(gene))
        share = level + rng.uniform(-0.25, 0.25) if alike else rng.random()
        found[gene] = ordered[min(max(int(share * len(ordered)), 0), len(ordered) - 1)]
    return found


@dataclass(frozen=True)
class Way:
    """Where a network's weights come from, and how long it is trained."""

    start: str
    epochs: int

    def label(self) -> str:
        """For the table."""
        if self.start in PROXIES:
            return self.start
        if self.start == FLOAT:
            return f"{self.epochs} epochs from float"
        return f"supernet {self.start}, {self.epochs} epochs"


def main() -> None:
    """Measures what is missing, then prints the table."""
    args = _arguments()
    task = load_task(args.task, args.data)
    space = {k: v["_value"] for k, v in json.loads(args.space.read_text()).items()}
    network = Network.load(args.space.with_suffix(".network.json"))
    supernets = {one.digest()[:8]: one for one in map(Supernet.load, args.supernet)}
    ways = [Way(FLOAT, epochs) for epochs in args.epochs]
    ways += [Way(name, 0) for name in (PROXIES if args.proxies else ())]
    ways += [Way(name, epochs) for name in supernets for epochs in args.supernet_epochs]
    for seed in range(args.seeds):
        for number in range(args.chromosomes):
            for way in ways:
                known = {_key(row) for row in read_rows(args.output)}
                if (task.name, str(number), way.start, str(way.epochs), str(seed)) in known:
                    continue
                params = chromosome(space, number)
                supernet = supernets.get(way.start)
                row = _measured(task, network, params, args.device, way, supernet, seed)
                append_row(args.output, {**row, "chromosome": str(number)}, COLUMNS)
    report(read_rows(args.output), max(args.epochs), args.split, args.above)


def _measured(
    task: Task,
    network: Network,
    params: Mapping[str, object],
    device: str,
    way: Way,
    supernet: Supernet | None,
    seed: int,
) -> Row:
    start = time.process_time()
    result = evaluate(
        task,
        params,
        device=device,
        network=network,
        epochs=way.epochs,
        seed=seed,
        supernet=supernet,
    )
    if way.start in PROXIES:
        torch.manual_seed(seed)
        inputs, _ = first_batch(task.train, "train")
        value = PROXIES[way.start](strip(result.model), inputs)
        val = test = f"{value:.6g}"
    else:
        val = f"{result.metrics['default']:.6f}"
        test = f"{score(task, result.model, task.test, 'test'):.6f}"
    spent = time.process_time() - start
    return {
        "task": task.name,
        "start": way.start,
        "epochs": str(way.epochs),
        "seed": str(seed),
        "val": val,
        "test": test,
        "size_kb": f"{result.metrics['size_kb']:.3f}",
        "cpu_s": f"{spent:.2f}",
    }


def report(rows: Sequence[Row], truth_epochs: int, split: str, above: float) -> None:
    """Prints, for each task and way, how far its scores are from the truth.

    Args:
        rows: of the file.
        truth_epochs: of the truth.
        split: ``val`` or ``test``.
        above: networks whose truth is less are left out.
    """
    by_way: dict[tuple[str, Way], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    by_seed: dict[tuple[str, Way], dict[str, dict[int, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    seconds: dict[tuple[str, Way], list[float]] = defaultdict(list)
    for row in rows:
        key = row["task"], Way(row["start"], int(row["epochs"]))
        by_way[key][int(row["chromosome"])].append(float(row[split]))
        by_seed[key][row["seed"]][int(row["chromosome"])] = float(row[split])
        seconds[key].append(float(row["cpu_s"]))
    for task in sorted({task for task, _ in by_way}):
        true_key = task, Way(FLOAT, truth_epochs)
        means = {n: statistics.mean(found) for n, found in by_way[true_key].items()}
        truth = {n: value for n, value in means.items() if value > above}
        print(f"{task}, {split}, against {truth_epochs} epochs from float (mean over its seeds)")
        for key in sorted(by_way, key=lambda k: (k[1].start != FLOAT, k[1].start, k[1].epochs)):
            if key[0] != task or key == true_key:
                continue
            for seed, found in by_seed[key].items():
                told = ordered if key[1].start in PROXIES else compared
                print(f"  {key[1].label()}, seed {seed}: {told(found, truth)}, "
                      f"{statistics.mean(seconds[key]):.1f} s of CPU each")  # fmt: skip
        two = [by_seed[true_key][s] for s in sorted(by_seed[true_key])[:2]]
        if len(two) == 2:
            first = {n: value for n, value in two[0].items() if n in truth}
            print(f"  one seed of the truth against another: {compared(two[1], first)}")


def compared(found: Scores, truth: Scores) -> str:
    """Mean absolute and mean signed distance, and :func:`ordered`."""
    gaps = [found[n] - truth[n] for n in sorted(set(found) & set(truth))]
    return (
        f"distance {statistics.mean(map(abs, gaps)):.4f} (signed {statistics.mean(gaps):+.4f}), "
        f"{ordered(found, truth)}"
    )


def ordered(found: Scores, truth: Scores) -> str:
    """Kendall's tau with its bootstrap interval over the networks."""
    names = sorted(set(found) & set(truth))
    tau = float(kendalltau([found[n] for n in names], [truth[n] for n in names]).statistic)
    rng = random.Random(0)
    drawn = []
    for _ in range(BOOTSTRAPS):
        some = [rng.choice(names) for _ in names]
        one = float(kendalltau([found[n] for n in some], [truth[n] for n in some]).statistic)
        if one == one:
            drawn.append(one)
    drawn.sort()
    low, high = drawn[int(0.05 * len(drawn))], drawn[int(0.95 * len(drawn)) - 1]
    return f"tau {tau:.2f} (90 %: {low:.2f} to {high:.2f}), {len(names)} networks"


def _key(row: Row) -> tuple[str, ...]:
    return row["task"], row["chromosome"], row["start"], row["epochs"], row["seed"]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file; none where it is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def arguments_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what names a task, its space and the file of rows.

    Args:
        doc: of the script; its first line describes it.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    add = parser.add_argument
    add("--task", default="evaluators.tasks.digits:build")
    add("--data")
    add("--space", type=Path, default=Path("experiment_configs/digits.space.json"))
    add("--device", default="stm32f746")
    add("--output", type=Path, required=True)
    return parser


def _arguments() -> argparse.Namespace:
    parser = arguments_of(__doc__)
    add = parser.add_argument
    add("--supernet", type=Path, nargs="*", default=[], help="files; their rows have their names")
    add("--chromosomes", type=int, default=16)
    add("--epochs", type=int, nargs="+", default=[1, 3, 40], help="the largest is the truth")
    add("--supernet-epochs", type=int, nargs="+", default=[0, 1])
    add("--proxies", action="store_true", help="also zero-shot proxies, which give an order only")
    add("--seeds", type=int, default=1)
    add("--split", choices=("val", "test"), default="val", help="of the table")
    add("--above", type=float, default=-1.0, help="of networks whose truth is above it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
