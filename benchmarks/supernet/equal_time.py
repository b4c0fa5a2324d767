"""Two searches at equal CPU time: trials from a supernet against trials from float.

    python -m benchmarks.supernet.equal_time --seeds 3 --output equal_time.csv

Task, device and the tuner's settings are those of a config.

The first arm trains a supernet and runs its trials. The second runs trials of the task's own epochs
from the float model until it has spent as much. Then each arm picks finalists on ``val``: those
of its front that add most hypervolume, one after the other. They are trained for 40 epochs, from
where their arm starts, and only they meet ``test``. Reading, asking and telling count as time;
Python's start does not, which each trial of an experiment pays again.

An arm that the file holds to its last finalist is not run again. The table is of all rows.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shlex
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import yaml

import ga
from benchmarks.csv_rows import append_row
from evaluators import Task, evaluate, load_task
from evaluators.supernet.training import Settings, train_supernet
from evaluators.supernet.weights import Supernet
from evaluators.training import score
from ga.history.pareto import hypervolume
from hardware import Network
from nni_plugin.setup.space_files import network_file, read_values
from nni_plugin.setup.trial_request import trial_arguments
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import Trial
from nni_plugin.study.tuner_args import TunerArgs

OBJECTIVES = ("accuracy", "size_kb", "latency_ms")
COLUMNS = ("seed", "arm", "kind", "uid", "cpu_s", "accuracy", "test", "size_kb", "latency_ms")
SUPERNET, FLOAT = "supernet", "float"
FINALIST_EPOCHS = 40
WORST = 0.8
"""Accuracy of the point that hypervolume is measured from; its costs are uniform int8's."""
POINT = 0.01

Row = dict[str, str]
Point = tuple[float, float, float]


class Arm:
    """One search of one seed.

    Args:
        name: ``supernet`` or ``float``.
        seed: of the optimizer and the supernet.
        args: of this program.
    """

    def __init__(self, name: str, seed: int, args: argparse.Namespace) -> None:
        self.name, self.seed, self.file = name, seed, args.output
        self.folder: Path = args.config.parent
        self.config = yaml.safe_load(args.config.read_text(encoding="utf-8"))
        trial = trial_arguments(shlex.split(self.config["trialCommand"]))
        self.task: Task = load_task(args.task or trial.task, args.data)
        self.device: str = trial.device
        self.space = self.folder / self.config["searchSpaceFile"]
        self.network = Network.load(network_file(self.space))
        self.start = time.process_time()
        self.supernet: Supernet | None = None

    @property
    def spent(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self.start

    def train(self, epochs: int) -> None:
        """Trains the supernet that the trials start from."""
        settings = Settings(epochs=epochs, seed=self.seed)
        self.supernet = train_supernet(self.task, self.network, read_values(self.space), settings)
        self.write("supernet")

    def search(self, trials: int | None, budget_s: float | None, epochs: int | None) -> list[Trial]:
        """Runs trials until there are so many, or so much time is spent; returns the finished."""
        class_args = {**self.config["tuner"]["classArgs"], "seed": self.seed}
        class_args.pop("final", None)  # what is trained to the end is chosen here
        args = TunerArgs.parse(class_args, base=[self.folder.resolve()])
        space = yaml.safe_load(self.space.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            study = Study(args, space, Path(folder) / "journal.jsonl", class_args)
            with closing(study):
                for number in itertools.count():
                    if number == trials or (budget_s is not None and self.spent >= budget_s):
                        break
                    try:
                        trial = study.ask()
                    except ga.SpaceExhausted:
                        break
                    found = evaluate(
                        self.task, trial.params, device=self.device, network=self.network,
                        epochs=epochs, supernet=self.supernet,
                    )  # fmt: skip
                    study.tell(trial.uid, found.metrics)
                    self.write("trial", trial.uid, found.metrics)
                return study.finished()

    def finish(self, chosen: Sequence[Trial], epochs: int) -> None:
        """Trains the finalists and looks at the test data."""
        for trial in chosen:
            found = evaluate(
                self.task, trial.params, device=self.device, network=self.network, epochs=epochs,
                supernet=self.supernet,
            )  # fmt: skip
            test = score(self.task, found.model, self.task.test, "test")
            self.write_finalist(trial, epochs, found.metrics, test)
        self.write("end")

    def write_finalist(
        self, trial: Trial, epochs: int, metrics: Mapping[str, float], test: float
    ) -> None:
        """Appends a finalist's row."""
        self.write("finalist", trial.uid, metrics, test)

    def write(
        self,
        kind: str,
        uid: int | None = None,
        metrics: Mapping[str, float] | None = None,
        test: float | None = None,
    ) -> None:
        """Appends a row."""
        row: Row = dict.fromkeys(COLUMNS, "")
        row |= {"seed": str(self.seed), "arm": self.name, "kind": kind}
        row |= {"cpu_s": f"{self.spent:.2f}", "uid": "" if uid is None else str(uid)}
        if metrics is not None:
            row |= {name: f"{metrics[name]:.6f}" for name in OBJECTIVES}
        if test is not None:
            row["test"] = f"{test:.6f}"
        append_row(self.file, row, COLUMNS)


def losses(costs: Mapping[str, float], accuracy: float) -> Point:
    """What is to be small."""
    return -accuracy, costs["size_kb"], costs["latency_ms"]


def finalists(
    trials: Sequence[Trial],
    reference: tuple[float, ...],
    count: int,
    losses: Callable[[Mapping[str, float], float], tuple[float, ...]] = losses,
) -> list[Trial]:
    """Those that add most hypervolume to the ones before them, by what their trials reported."""
    left = [t for t in trials if all(name in t.metrics for name in OBJECTIVES)]
    chosen: list[Trial] = []
    while left and len(chosen) < count:
        points = [losses(t.metrics, t.metrics["accuracy"]) for t in chosen]
        gains = [
            hypervolume([*points, losses(t.metrics, t.metrics["accuracy"])], reference)
            for t in left
        ]
        chosen.append(left.pop(gains.index(max(gains))))
    return chosen


def report(rows: Sequence[Row], reference: Point, baseline: float) -> None:
    """Prints a line for each arm and seed, and the means over the seeds that are complete.

    Args:
        rows: of the file.
        reference: the point that hypervolume is measured from.
        baseline: accuracy of float on test.
    """
    volumes: dict[str, list[float]] = {SUPERNET: [], FLOAT: []}
    for seed, arm in sorted({(int(r["seed"]), r["arm"]) for r in rows}):
        own = [r for r in rows if (r["seed"], r["arm"]) == (str(seed), arm)]
        if own[-1]["kind"] != "end":
            continue
        done = [r for r in own if r["kind"] == "finalist"]
        points = [losses({n: float(r[n]) for n in OBJECTIVES}, float(r["test"])) for r in done]
        spent = max(float(r["cpu_s"]) for r in own if r["kind"] in ("supernet", "trial"))
        near = [float(r["size_kb"]) for r in done if float(r["test"]) >= baseline - POINT]
        smallest = f"{min(near):.2f} KB" if near else "none"
        volumes[arm].append(hypervolume(points, reference))
        print(
            f"seed {seed}, {arm}: {sum(r['kind'] == 'trial' for r in own)} trials in {spent:.0f} s "
            f"of CPU, {len(done)} finalists, hypervolume on test {volumes[arm][-1]:.3f}, smallest "
            f"within a point of float on test {smallest}"
        )
    for arm, found in volumes.items():
        if found:
            print(f"{arm}: hypervolume {statistics.mean(found):.3f}, mean of {len(found)} seeds")


def report_finalists(rows: Sequence[Row], baseline: float) -> None:
    """Prints each seed's smallest finalist within two points of float, and how far trials were off.

    Args:
        rows: of the file.
        baseline: accuracy of float on test.
    """
    scores = {(r["seed"], r["arm"], r["uid"]): r for r in rows if r["kind"] == "trial"}
    for arm in (SUPERNET, FLOAT):
        done = [r for r in rows if r["arm"] == arm and r["kind"] == "finalist"]
        for seed in sorted({r["seed"] for r in done}, key=int):
            near = [
                float(r["size_kb"])
                for r in done
                if r["seed"] == seed and float(r["test"]) >= baseline - 2 * POINT
            ]
            smallest = f"{min(near):.2f} KB" if near else "none"
            print(f"seed {seed}, {arm}: smallest within two points of float on test {smallest}")
        distances = [
            abs(float(r["accuracy"]) - float(scores[r["seed"], arm, r["uid"]]["accuracy"]))
            for r in done
        ]
        if distances:
            mean = statistics.mean(distances)
            print(f"{arm}: trial's score from the finished network {mean:.4f}")


def main() -> None:
    """Runs what the file lacks, then prints the table."""
    args = _arguments()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        if not _is_done(args.output, seed, SUPERNET):
            arm = Arm(SUPERNET, seed, args)
            arm.train(args.supernet_epochs)
            trials = arm.search(args.trials, None, args.epochs)
            arm.finish(finalists(trials, _reference(arm), args.finalists), args.finalist_epochs)
        if not _is_done(args.output, seed, FLOAT):
            budget = max(
                float(r["cpu_s"]) for r in _read(args.output)
                if (r["seed"], r["arm"]) == (str(seed), SUPERNET)
                and r["kind"] in ("supernet", "trial")
            )  # fmt: skip
            arm = Arm(FLOAT, seed, args)
            trials = arm.search(None, budget, None)
            arm.finish(finalists(trials, _reference(arm), args.finalists), args.finalist_epochs)
    last = Arm(FLOAT, 0, args)
    baseline = score(last.task, last.task.model, last.task.test, "test")
    report(_read(args.output), _reference(last), baseline)
    report_finalists(_read(args.output), baseline)


def _reference(arm: Arm) -> Point:
    from hardware import cost_function, load_device

    costs = cost_function(arm.network, load_device(arm.device))({})
    return -WORST, costs["size_kb"], costs["latency_ms"]


def _is_done(path: Path, seed: int, arm: str) -> bool:
    return any((r["seed"], r["arm"], r["kind"]) == (str(seed), arm, "end") for r in _read(path))


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    add = parser.add_argument
    add("--config", type=Path, default=Path("experiment_configs/ga_joint.yml"))
    add("--task", help="in place of the config's")
    add("--data", help="of the task, in place of the config's")
    add("--seeds", type=int, default=3)
    add("--first-seed", type=int, default=0)
    add("--trials", type=int, default=48, help="of the arm with the supernet")
    add("--epochs", type=int, default=3, help="of these trials")
    add("--supernet-epochs", type=int, default=60)
    add("--finalists", type=int, default=4, help="of each arm")
    add("--finalist-epochs", type=int, default=FINALIST_EPOCHS)
    add("--output", type=Path, default=Path("benchmarks/supernet/results/equal_time.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
