"""A search over a published table, as an NNI experiment whose trials fail in eleven ways.

A trial (``faulty_trial.py``) looks its metrics up, so that it costs next to nothing. Which
chromosomes fail, and how, is drawn from the seed and the chromosome alone: a chromosome that runs
again fails again, and a run without NNI meets the same faults.
"""

from __future__ import annotations

import csv
import json
import lzma
import random
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ga
from benchmarks.faults.faulty_trial import FAULTS, chromosome_key
from nni_plugin.study.study import Study
from nni_plugin.study.tuner_args import TunerArgs

REPOSITORY = Path(__file__).parents[2]
OBJECTIVES = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
_TABLE = REPOSITORY / "benchmarks" / "search" / "tables" / "kws.csv.xz"
_GENES = 7
_ACCURACY = "val_8"
_SUBMITTED_AT_ONCE = 2


@dataclass(frozen=True)
class Row:
    """One chromosome of the table.

    Attributes:
        params: its genes.
        metrics: the objectives.
        fault: how its trial fails, None if it does not.
    """

    params: dict[str, float]
    metrics: dict[str, float]
    fault: str | None

    @property
    def has_result(self) -> bool:
        """Whether its trial reports something that can be used."""
        return self.fault in (None, "two_results")


@dataclass(frozen=True)
class Table:
    """The published keyword-spotting table (3,456 trained networks), with faults."""

    rows: dict[str, Row]

    @classmethod
    def load(cls, seed: int, share: float) -> Table:
        """Read the table and draw the faults.

        Args:
            seed: of the faults.
            share: of the chromosomes that fail, 0 to 1.
        """
        rows = {}
        with lzma.open(_TABLE, "rt", newline="") as file:
            for line in csv.DictReader(file):
                values = {name: float(text) for name, text in line.items()}
                params = {name: values[name] for name in list(values)[:_GENES]}
                metrics = {
                    "accuracy": values[_ACCURACY],
                    "size_kb": values["size_kb"],
                    "latency_ms": values["latency_ms"],
                }
                key = chromosome_key(params)
                rng = random.Random(f"{seed}/{key}")
                fault = rng.choice(sorted(FAULTS)) if rng.random() < share else None
                rows[key] = Row(params, metrics, fault)
        return cls(rows)

    def row(self, params: Mapping[str, object]) -> Row:
        """The row of a chromosome."""
        return self.rows[chromosome_key(params)]

    def space(self) -> dict[str, dict[str, object]]:
        """NNI's search space."""
        first = next(iter(self.rows.values()))
        return {
            name: {
                "_type": "choice",
                "_value": sorted({row.params[name] for row in self.rows.values()}),
            }
            for name in first.params
        }

    def share_of_hypervolume(self, metrics: Iterable[Mapping[str, float]]) -> float:
        """Hypervolume of these results over that of the whole table's front, 0 to 1."""
        goals = ga.Objectives.parse(OBJECTIVES)
        everything = np.array([goals.losses(row.metrics) for row in self.rows.values()])
        low, high = everything.min(axis=0), everything.max(axis=0)
        found = np.array([goals.losses(row) for row in metrics]).reshape(-1, len(OBJECTIVES))
        return _volume((found - low) / (high - low)) / _volume((everything - low) / (high - low))

    def undisturbed(self, folder: Path, trials: int, seed: int) -> list[dict[str, float]]:
        """The same search with the same faults in this process: no NNI, nothing is killed.

        Args:
            folder: for the journal.
            trials: how many chromosomes are tried.
            seed: of the search.

        Returns:
            The metrics of those that gave a result, in order.
        """
        study = Study(
            TunerArgs.parse(class_args(seed)), self.space(), folder / f"undisturbed-{seed}.jsonl"
        )
        try:
            waiting = []
            for _ in range(trials):
                waiting.append(study.ask())
                if len(waiting) < _SUBMITTED_AT_ONCE:
                    continue
                trial = waiting.pop(0)
                row = self.row(trial.params)
                if row.has_result:
                    study.tell(trial.uid, row.metrics)
                else:
                    study.fail(trial.uid, str(row.fault))
            return [trial.metrics for trial in study.log.finished("complete")]
        finally:
            study.close()


def _volume(losses: np.ndarray) -> float:
    front = losses[ga.nondominated(losses)]
    return float(ga.hypervolume(front, np.ones(losses.shape[1]))) if len(front) else 0.0


def class_args(seed: int) -> dict[str, object]:
    """The tuner's arguments."""
    return {"objectives": OBJECTIVES, "seed": seed}


def write_experiment(
    folder: Path, table: Table, trials: int, *, seed: int, wait_s: float = 0.0, concurrency: int = 2
) -> Path:
    """Write config, search space and table into a folder; returns the config's path.

    Args:
        folder: of the experiment; trials write what they did into ``ledger/`` in it.
        table: what trials answer with.
        trials: NNI's ``maxTrialNumber``.
        seed: of the search.
        wait_s: seconds that a trial sleeps before its result.
        concurrency: trials at once.
    """
    (folder / "ledger").mkdir(parents=True)
    (folder / "code").mkdir()
    rows = {key: {"metrics": r.metrics, "fault": r.fault} for key, r in table.rows.items()}
    (folder / "table.json").write_text(json.dumps(rows))
    (folder / "space.json").write_text(json.dumps(table.space()))
    script = Path(__file__).with_name("faulty_trial.py")
    command = f"{sys.executable} {script} {folder / 'table.json'} {folder / 'ledger'} {wait_s}"
    counts = {"trialConcurrency": concurrency, "maxTrialNumber": trials}
    own = {"searchSpaceFile": "space.json", "trialCommand": command, "trialCodeDirectory": "code"}
    return write_config(folder, {**own, **counts}, class_args(seed))


def write_config(
    folder: Path, settings: Mapping[str, object], tuner_args: Mapping[str, object]
) -> Path:
    """Writes the config of a search with our tuner on this machine; returns its path.

    Args:
        folder: of the experiment.
        settings: NNI's, but for the tuner's and where trials run.
        tuner_args: the tuner's ``classArgs``.
    """
    config = folder / "config.yml"
    tuner = {
        "className": "nni_plugin.JointGATuner",
        "codeDirectory": str(REPOSITORY),
        "classArgs": dict(tuner_args),
    }
    rest = {
        "experimentWorkingDirectory": str(folder / "experiments"),
        "tuner": tuner,
        "trainingService": {"platform": "local"},
    }
    config.write_text(json.dumps({**settings, **rest}))
    return config
