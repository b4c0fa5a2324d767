"""PLiNIO's mixed-precision search beside a search from a supernet, keyword spotting.

    python -m benchmarks.supernet.plinio_side_by_side plinio --data DATA --weights layer
    python -m benchmarks.supernet.plinio_side_by_side plinio --data DATA --weights channel
    python -m benchmarks.supernet.plinio_side_by_side ours --data DATA --config CONFIG
    python -m benchmarks.supernet.plinio_side_by_side table

The first two need PLiNIO (https://github.com/eml-eda/plinio) and what it imports. Each strength is
a search of some epochs and a fine-tuning of as many, and gives one point. Ours has the epochs of
all points for its supernet, its trials and its finalists.

Both start from the same float weights, and see the same batches, augmentation and loss. Both are
counted alike: weights as they are packed in flash, 8-bit activations. What is chosen is chosen on
``val``; ``test`` is read once for each point.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from benchmarks.csv_rows import append_row
from benchmarks.supernet.equal_time import Arm, finalists
from benchmarks.supernet.plinio_search import Rival, Settings
from evaluators import load_task
from evaluators.compression.decisions import read_candidate
from evaluators.supernet.weights import Supernet
from evaluators.tracing.trace import trace
from evaluators.training import score
from ga.history.pareto import hypervolume
from hardware import Layer, Network, load_device
from hardware.costs import flash
from hardware.ir.gene_kinds import A_BITS
from hardware.latency.cycles import cycles_of
from nni_plugin.setup.space_files import network_file
from nni_plugin.study.trial_log import Trial

COLUMNS = (
    "seed", "arm", "kind", "name", "epochs", "cpu_s", "val", "test", "val_last", "test_last",
    "weights_kb", "size_kb", "mcycles", "bits",
)  # fmt: skip
KB = 1024
OURS = "ours"
OBJECTIVES = {"accuracy": "maximize", "size_kb": "minimize"}
STRENGTHS = {"layer": (1e-6, 3e-6, 1e-5, 3e-5), "channel": (1e-6, 3e-6, 1e-5, 3e-5)}
"""Of the regularization term: times bits of the weights."""
COSTS = ("weights_kb", "size_kb", "mcycles")

Row = dict[str, str]


@dataclass(frozen=True)
class Price:
    """What a network takes: KB of packed weights, of all its flash, and cycles on MPIC."""

    weights_kb: float
    size_kb: float
    mcycles: float

    @classmethod
    def of(cls, layers: Sequence[Layer], device: str) -> Price:
        """Counts layers; cycles are those of their multiplications alone, as PLiNIO counts."""
        parts, mpic = flash(layers, load_device(device)), load_device("mpic")
        cycles = sum(cycles_of(x, mpic.core, mpic.runtime) for x in layers if x.is_weighted)
        return cls(parts.weights / KB, parts.total / KB, cycles / 1e6)

    def row(self) -> Row:
        """As columns of the file."""
        return {
            "weights_kb": f"{self.weights_kb:.3f}", "size_kb": f"{self.size_kb:.3f}",
            "mcycles": f"{self.mcycles:.4f}",
        }  # fmt: skip


def whole(args: argparse.Namespace) -> Price:
    """What the whole network of a config costs with 8 bits."""
    config = yaml.safe_load(args.config.read_text(encoding="utf-8"))
    network = Network.load(network_file(args.config.parent / config["searchSpaceFile"]))
    return Price.of(network.apply({}), args.device)


class Ours(Arm):
    """A search of ours for accuracy and size, which keeps its rows in the shared file.

    Args:
        seed: of the optimizer and the supernet.
        args: of this program.
        folder: an empty one, for the search space.
    """

    def __init__(self, seed: int, args: argparse.Namespace, folder: Path) -> None:
        super().__init__(OURS, seed, args)
        settings = self.config["tuner"]["classArgs"]
        settings["objectives"] = OBJECTIVES
        if args.least is not None:
            settings["constraints"]["accuracy"] = f">= {args.least}"
        # PLiNIO's activations have 8 bits, so ours keep theirs.
        space = json.loads(self.space.read_text(encoding="utf-8"))
        space = {key: values for key, values in space.items() if not A_BITS.owns(key)}
        (folder / self.space.name).write_text(json.dumps(space), encoding="utf-8")
        network = network_file(self.space)
        shutil.copy(network, folder / network.name)
        self.folder, self.space = folder, folder / self.space.name

    def write(
        self,
        kind: str,
        uid: int | None = None,
        metrics: Mapping[str, float] | None = None,
        test: float | None = None,
    ) -> None:
        """Appends a row of the supernet or of a trial."""
        row = {"kind": kind, "name": "" if uid is None else str(uid)}
        if metrics is not None:
            row |= {"val": f"{metrics['accuracy']:.6f}", "size_kb": f"{metrics['size_kb']:.3f}"}
        append_row(self.file, {**row, "seed": str(self.seed), "arm": self.name,
                           "cpu_s": f"{self.spent:.1f}"}, COLUMNS)  # fmt: skip

    def write_finalist(
        self, trial: Trial, epochs: int, metrics: Mapping[str, float], test: float
    ) -> None:
        """Appends a finalist's row: all that a point of the rival has."""
        layers = read_candidate(self.network, trial.params).layers
        val = f"{metrics['accuracy']:.6f}"
        append_row(self.file, {
            "seed": str(self.seed), "arm": self.name, "kind": "finalist",
            "name": str(trial.uid), "epochs": str(epochs), "cpu_s": f"{self.spent:.1f}",
            "val": val, "test": f"{test:.6f}", "val_last": val, "test_last": f"{test:.6f}",
            **Price.of(layers, self.device).row(),
            "bits": " ".join(f"{x.out_channels}x{x.w_bits}" for x in layers if x.is_weighted),
        }, COLUMNS)  # fmt: skip


def run_ours(args: argparse.Namespace, seed: int) -> None:
    """A supernet, trials from it, finalists."""
    with tempfile.TemporaryDirectory() as folder:
        arm = Ours(seed, args, Path(folder))
        if args.supernet is None:
            arm.train(args.supernet_epochs)
        else:
            arm.supernet = Supernet.load(args.supernet)
            arm.write("supernet")
        trials = arm.search(args.trials, None, args.trial_epochs)
        reference = (-args.worst, whole(args).size_kb)
        arm.finish(finalists(trials, reference, args.finalists, _losses), args.finalist_epochs)


def _losses(costs: Mapping[str, float], accuracy: float) -> tuple[float, ...]:
    return -accuracy, costs["size_kb"]


def run_plinio(args: argparse.Namespace, seed: int) -> None:
    """One point for each strength."""
    task = load_task("evaluators.tasks.kws:build", args.data)
    network = trace(task)
    settings = Settings(epochs=args.epochs, per_channel=args.weights == "channel", seed=seed)
    for strength in args.strengths or STRENGTHS[args.weights]:
        start = time.process_time()
        found = Rival(task, settings).point(strength)
        spent = time.process_time() - start
        tests = [score(task, model, task.test, "test") for model in (found.best, found.last)]
        append_row(args.output, {
            "seed": str(seed), "arm": f"plinio-{args.weights}", "kind": "point",
            "name": f"{strength:g}", "epochs": str(2 * args.epochs), "cpu_s": f"{spent:.1f}",
            "val": f"{found.val:.6f}", "test": f"{tests[0]:.6f}",
            "val_last": f"{found.val_last:.6f}", "test_last": f"{tests[1]:.6f}",
            **Price.of(parts(network.layers, found.bits), args.device).row(),
            "bits": " ".join(summary(b) for b in found.bits.values()),
        }, COLUMNS)  # fmt: skip


def parts(layers: Sequence[Layer], bits: Mapping[str, Sequence[int]]) -> list[Layer]:
    """A chain's weighted layers as they are stored, one for each bit-width of its channels.

    Args:
        layers: of the whole network, in their order.
        bits: of each output channel, by module; channels of 0 bits are gone.
    """
    found = []
    before = None
    for layer in layers:
        if not layer.is_weighted:
            continue
        widths = [b for b in bits[layer.module] if b]
        depthwise = layer.op == "depthwise"
        for width in sorted(set(widths)):
            count = widths.count(width)
            inputs = count if depthwise else before or layer.in_channels
            part = replace(
                layer,
                name=f"{layer.name}.{width}",
                module=f"{layer.module}.{width}",
                groups=count if depthwise else layer.groups,
                in_shape=_with(layer.in_shape, inputs),
                out_shape=_with(layer.out_shape, count),
                w_bits=width,
                a_bits=8,
            )
            found.append(part)
        before = len(widths)
    return found


def _with(shape: tuple[int, ...], channels: int) -> tuple[int, ...]:
    return (channels, *shape[1:]) if len(shape) != 2 else (*shape[:-1], channels)


def summary(bits: Sequence[int]) -> str:
    """How many channels have how many bits, as ``40x2+24x8``."""
    return "+".join(f"{bits.count(b)}x{b}" for b in sorted(set(bits)) if b)


def report(path: Path, worst: Price, accuracy: float) -> None:
    """Prints each arm's CPU seconds and hypervolumes, then its points by size.

    Hypervolume is measured from the costs ``worst`` and from ``accuracy``. The last three columns
    name the arms of the other side that have a point, in the same seed, of no more weights, flash
    or cycles and no less accuracy on ``test``.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for seed, arm in sorted({(r["seed"], r["arm"]) for r in rows}):
        own = [r for r in rows if (r["seed"], r["arm"]) == (seed, arm)]
        # A process counts on over the rows of ours; a point of PLiNIO has its own seconds.
        times = [float(r["cpu_s"]) for r in own]
        spent = sum(times) if _is_rival(own[0]) else max(times)
        done = [r for r in own if r["test"]]
        volumes = " | ".join(
            f"{_volume(done, cost, (-accuracy, getattr(worst, cost))):.3f}" for cost in COSTS
        )
        print(f"| {seed} | {arm} | {len(done)} | {spent:.0f} | {volumes} |")
    points = [r for r in rows if r["test"]]
    for row in sorted(points, key=lambda r: (r["seed"], r["arm"], float(r["weights_kb"]))):
        others = [o for o in points if _is_rival(o) != _is_rival(row) and o["seed"] == row["seed"]]
        beaten = " | ".join(
            ", ".join(sorted({o["arm"] for o in others if _dominates(o, row, cost)}))
            for cost in COSTS
        )
        print(
            f"| {row['seed']} | {row['arm']} | {float(row['weights_kb']):.2f} | "
            f"{float(row['size_kb']):.1f} | {float(row['mcycles']):.2f} | "
            f"{float(row['val']):.3f} | {float(row['test']):.3f} | "
            f"{float(row['test_last']):.3f} | {beaten} |"
        )


def _is_rival(row: Row) -> bool:
    return not row["arm"].startswith(OURS)


def _volume(rows: Sequence[Row], cost: str, reference: tuple[float, float]) -> float:
    return hypervolume([(-float(r["test"]), float(r[cost])) for r in rows], reference)


def _dominates(one: Row, other: Row, cost: str) -> bool:
    better = float(one["test"]) - float(other["test"])
    smaller = float(other[cost]) - float(one[cost])
    return better >= 0 and smaller >= 0 and better + smaller > 0


def main() -> None:
    """Runs one arm for each seed, or prints the table."""
    args = _arguments()
    if args.what == "table":
        report(args.output, whole(args), args.worst)
        return
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        (run_ours if args.what == OURS else run_plinio)(args, seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    add = parser.add_argument
    add("what", choices=("plinio", OURS, "table"))
    add("--task", help="of ours, in place of the config's")
    add("--data", help="of the task")
    add("--seeds", type=int, default=1)
    add("--first-seed", type=int, default=0)
    add("--weights", choices=tuple(STRENGTHS), default="layer", help="where PLiNIO's bits differ")
    add("--strengths", type=float, nargs="*", help="of PLiNIO's regularization")
    add("--epochs", type=int, default=30, help="of PLiNIO's search, and of its fine-tuning")
    add("--device", default="stm32l4r5")
    add("--config", type=Path, default=Path("experiment_configs/ga_joint_kws.yml"))
    add("--supernet", type=Path, help="of ours; trained anew if not given")
    add("--supernet-epochs", type=int, default=60)
    add("--trials", type=int, default=60, help="of ours")
    add("--trial-epochs", type=int, default=1)
    add("--least", type=float, help="accuracy of a trial, in place of the config's limit")
    add("--finalists", type=int, default=4)
    add("--finalist-epochs", type=int, default=30)
    add("--worst", type=float, default=0.8, help="accuracy that hypervolume is measured from")
    add("--output", type=Path, default=Path("benchmarks/supernet/results/plinio_kws.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
