"""Trials of a table-backed task on each engine: how many a minute, and what each costs.

    python -m benchmarks.engines [--engines local-warm local-fresh nni] [--trials 100] [--seeds 1]
        [--surrogate auto] [--fronts]

A trial imports torch, as one that trains would, and looks its metrics up in the published table of
keyword-spotting networks (`benchmarks/search/tables/kws.csv.xz`). Each engine gets the same config
with two trials at once. Seconds of CPU are those of all processes of the run. A trial's overhead is
the time from the engine's start of it to its end, without the time between the trial's first line
of code and its last. With ``--fronts`` one search runs everywhere instead, see ``engine_fronts``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.table_task import REPOSITORY, Table, class_args, write_config
from nni_plugin.results.experiment import Experiment, known_folders

ENGINES = {
    "local-warm": ("--engine", "local", "--warm"),
    "local-fresh": ("--engine", "local", "--no-warm"),
    "ray-warm": ("--engine", "ray", "--warm"),
    "nni": (),
}
CONCURRENCY = 2
_TRIAL = """
import time
began = time.perf_counter()
import json, sys
import torch
from benchmarks.faults.faulty_trial import chromosome_key
from evaluators.nni_imports import import_nni
from nni_plugin.protocol.trial_parameters import trial_parameters
nni = import_nni()
params = trial_parameters()
metrics = json.load(open("table.json"))[chromosome_key(params)]
own = time.perf_counter() - began
nni.report_final_result(
    {**metrics, "default": metrics["accuracy"], "own_s": own, "uid": params["uid"]})
"""


@dataclass(frozen=True)
class Figures:
    """What was measured of one run.

    Attributes:
        a_minute: trials from the first start to the last end.
        late: the same of the second half, in which all is warm.
        overhead_s: of a trial, the median of the second half.
        cpu_s: of the whole run, over its trials.
    """

    a_minute: float
    late: float
    overhead_s: float
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--surrogate", default="auto", help="the search's own time: none, auto")
    parser.add_argument("--fronts", action="store_true", help="compare the fronts, not the speed")
    args = parser.parse_args()
    if args.fronts:
        from benchmarks.engine_fronts import print_table

        sys.exit(not print_table(args.trials, args.seeds, args.surrogate))
    load = os.getloadavg()[0]
    print(f"{args.trials} trials, {CONCURRENCY} at once; {os.cpu_count()} CPUs, load {load:.1f}")
    print("| Engine | Trials a minute | In its second half | Overhead, s | CPU a trial, s |")
    print("|---|---|---|---|---|")
    for engine in args.engines:
        runs = [measured(engine, args.trials, seed, args.surrogate) for seed in range(args.seeds)]
        columns = [
            statistics.mean(getattr(run, name) for run in runs)
            for name in ("a_minute", "late", "overhead_s", "cpu_s")
        ]
        shown = zip(columns, (0, 0, 2, 2), strict=True)
        text = " | ".join(f"{value:.{digits}f}" for value, digits in shown)
        print(f"| {engine} | {text} |", flush=True)


def measured(engine: str, trials: int, seed: int, surrogate: str) -> Figures:
    """Runs the task on an engine."""
    with tempfile.TemporaryDirectory(prefix="engines-") as name:
        folder = Path(name)
        config = write(folder, trials, {**class_args(seed), "surrogate": surrogate}, CONCURRENCY)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        experiment = run(folder, config, ENGINES[engine])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = read(Experiment(experiment))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(*figures, cpu / trials)


def write(folder: Path, trials: int, tuner_args: Mapping[str, object], concurrency: int) -> Path:
    """Writes config, table and trial into a folder; returns the config's path."""
    table = Table.load(0, share=0.0)
    rows = {key: row.metrics for key, row in table.rows.items()}
    (folder / "table.json").write_text(json.dumps(rows))
    (folder / "trial.py").write_text(_TRIAL)
    settings = {
        "searchSpace": table.space(),
        "trialCommand": "python3 trial.py",
        "trialCodeDirectory": ".",
        "trialConcurrency": concurrency,
        "maxTrialNumber": trials,
    }
    return write_config(folder, settings, tuner_args)


def run(folder: Path, config: Path, options: Sequence[str]) -> Path:
    """``joint-ga run``, quietly; what it said is shown if it fails. Returns the experiment."""
    environment = {
        **os.environ,
        "HOME": str(folder),
        "NNI_CONFIG_DIR": str(folder / "nni"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "nni_plugin.cli", "run", str(config), "--no-check", *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    (experiment,) = known_folders(folder / "experiments")
    return experiment


def read(experiment: Experiment) -> tuple[float, float, float]:
    """Trials a minute, those of the second half, and the overhead of a trial there in seconds."""
    jobs = experiment.nni_trials()
    ended = [
        (job.started, job.ended, trial.metrics["own_s"])
        for trial in experiment.log.finished("complete")
        if (job := jobs.get(trial.job_id or "")) and job.started and job.ended
    ]
    ended.sort(key=lambda times: times[1])
    half = ended[len(ended) // 2 :]
    whole_s = ended[-1][1] - min(begun for begun, _, _ in ended)
    half_s = half[-1][1] - half[0][1]
    overheads = [end - begun - own for begun, end, own in half]
    return (
        60 * len(ended) / whole_s,
        60 * (len(half) - 1) / half_s,
        statistics.median(overheads),
    )


if __name__ == "__main__":
    main()
