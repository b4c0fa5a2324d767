"""What the end of a training is worth: one training of each network, scored at several endings.

    python -m benchmarks.supernet.endings --chromosomes 4 7 10 21 --seeds 2 --output endings.csv

Endings are the weights of the last step with the batch norms' running statistics, the same weights
with statistics of their own, and the average of the last steps' weights with its own, as shipped.
Chromosomes are those of ``benchmarks.supernet.truth``. Rows are appended; what the file holds is
not done again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from benchmarks.csv_rows import append_row
from benchmarks.supernet.truth import FLOAT, Row, arguments_of, chromosome, read_rows
from evaluators import Task, evaluate, load_task
from evaluators.fine_tuning.averaging import WeightAverage
from evaluators.fine_tuning.loop import Course
from evaluators.supernet.weights import Supernet
from evaluators.training import reestimate_batch_norm, score
from hardware import Network
from hardware.ir.gene_kinds import A_BITS

COLUMNS = (
    "task", "chromosome", "a_bits", "size_kb", "start", "epochs", "set", "seed", "ending", "val",
    "test", "cpu_s",
)  # fmt: skip
LAST, NORMS, SHIPPED = "last step", "its statistics", "as shipped"


@contextmanager
def endings(note: Callable[[str, nn.Module], None]) -> Iterator[None]:
    """Notes what a training in this block would be at the endings that are not shipped."""
    shipped = Course.end

    def end(self: Course, model: nn.Module, average: WeightAverage) -> None:
        note(LAST, model)
        reestimate_batch_norm(model, self.task.train)
        note(NORMS, model)
        shipped(self, model, average)

    Course.end = end  # type: ignore[method-assign]  # for this block
    try:
        yield
    finally:
        Course.end = shipped  # type: ignore[method-assign]  # as above


def main() -> None:
    """Measures what is missing, then prints the means."""
    args = _arguments()
    task = load_task(args.task, args.data)
    for name, _, value in (part.partition("=") for part in args.set):
        known = getattr(task.recipe, name)
        setattr(task, name, float(value) if known is None else type(known)(value))
    space = {k: v["_value"] for k, v in json.loads(args.space.read_text()).items()}
    network = Network.load(args.space.with_suffix(".network.json"))
    supernet = Supernet.load(args.supernet) if args.supernet else None
    for seed in range(args.seeds):
        for number in args.chromosomes:
            params = chromosome(space, number)
            if args.a_bits:
                params |= {gene: args.a_bits for gene in params if A_BITS.owns(gene)}
            key: Row = {
                "task": task.name,
                "chromosome": str(number),
                "a_bits": str(args.a_bits or "its own"),
                "start": supernet.digest()[:8] if supernet else FLOAT,
                "epochs": str(args.epochs),
                "set": " ".join(args.set),
                "seed": str(seed),
            }
            if any(key.items() <= row.items() for row in read_rows(args.output)):
                continue
            for row in _measured(task, network, params, args.device, supernet, key):
                append_row(args.output, row, COLUMNS)
    report(read_rows(args.output))


def _measured(
    task: Task,
    network: Network,
    params: Mapping[str, object],
    device: str,
    supernet: Supernet | None,
    key: Row,
) -> list[Row]:
    """A row for each ending of one training."""
    found: dict[str, tuple[float, float]] = {}

    def note(ending: str, model: nn.Module) -> None:
        found[ending] = score(task, model, task.val), score(task, model, task.test, "test")

    start = time.process_time()
    with endings(note):
        result = evaluate(
            task,
            params,
            device=device,
            network=network,
            epochs=int(key["epochs"]),
            seed=int(key["seed"]),
            supernet=supernet,
        )
    note(SHIPPED, result.model)
    spent = time.process_time() - start
    more = {"size_kb": f"{result.metrics['size_kb']:.3f}", "cpu_s": f"{spent:.2f}"}
    return [
        {**key, **more, "ending": ending, "val": f"{val:.6f}", "test": f"{test:.6f}"}
        for ending, (val, test) in found.items()
    ]


def report(rows: Sequence[Row]) -> None:
    """Prints each ending's mean over networks and seeds, for each kind of training."""
    kinds: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        named = ("task", "start", "epochs", "a_bits", "set", "ending")
        kinds[tuple(row[name] for name in named)].append(row)
    for kind, found in kinds.items():
        val, test = (statistics.mean(float(row[name]) for row in found) for name in ("val", "test"))
        print(
            f"{', '.join(filter(None, kind))}: val {val:.4f}, test {test:.4f} ({len(found)} runs)"
        )


def _arguments() -> argparse.Namespace:
    parser = arguments_of(__doc__)
    add = parser.add_argument
    add("--chromosomes", type=int, nargs="+", default=[4, 7, 10, 21])
    add("--a-bits", type=int, help="of all activations, in place of the chromosome's own")
    add("--supernet", type=Path, help="start from it")
    add("--epochs", type=int, default=40)
    add("--seeds", type=int, default=1)
    add("--set", nargs="+", default=[], metavar="NAME=VALUE", help="fields of the recipe")
    return parser.parse_args()


if __name__ == "__main__":
    main()
