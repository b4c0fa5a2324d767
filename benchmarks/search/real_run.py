"""A real comparison: `PYTHONPATH=. JOINT_GA_DATA=... python benchmarks/search/real_run.py`.

Runs keyword spotting through `nnictl create`, once for each search and seed: this tuner, NNI's TPE
on a weighted sum, and Optuna's Gaussian process and multivariate TPE. Every trial is the shipped
one (nni_plugin.trial) with few epochs, two at a time. Results go to `results/real-kws.csv`, a line
for each trial with its time since the start and the hypervolume so far; `--plot` only draws and
sums them up. Runs that are there with as many trials are skipped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from summarize import spread

import ga
from hardware import Network, cost_function, load_device

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "experiment_configs"
RESULTS = Path(__file__).parent / "results"
COSTS = ("size_kb", "latency_ms")
COLUMNS = ("accuracy", "baseline_accuracy", *COSTS)
_LATE = ("did not connect", "nnictl create failed")


def int8_costs(config: dict[str, Any]) -> dict[str, float]:
    """Size and latency of the unpruned 8-bit network."""
    known = config["tuner"]["classArgs"]["costs"]
    network = Network.load(CONFIGS / known["network"])
    costs = cost_function(network, load_device(known["device"]))({})
    return {name: float(costs[name]) for name in COSTS}


def tuners(config: dict[str, Any], scales: dict[str, float], seed: int) -> dict[str, Any]:
    """NNI's tuner settings by name; ours has no limits here, since the others know none."""
    ours = {**config["tuner"], "codeDirectory": str(REPOSITORY)}
    ours["classArgs"] = {**ours["classArgs"], "seed": seed}
    del ours["classArgs"]["constraints"]

    def rival(name: str, **options: Any) -> dict[str, Any]:
        arguments = {"scales": scales, "seed": seed, **options}
        return {
            "className": f"rival_tuners.{name}",
            "codeDirectory": str(Path(__file__).parent),
            "classArgs": arguments,
        }

    return {
        "ours": ours,
        "nni tpe, weighted sum": rival("WeightedTpe"),
        "optuna gp": rival("OptunaTuner", sampler="GPSampler"),
        "optuna tpe multivariate": rival("OptunaTuner", sampler="TPESampler"),
    }


def run(settings: dict[str, Any], port: int) -> list[dict[str, Any]]:
    """One experiment from its creation to its end.

    Returns:
        For each trial in order of its end: seconds since the first one's start, and its metrics.

    Raises:
        RuntimeError: It did not start, or ended in an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = {**settings, "experimentWorkingDirectory": folder}
        path = Path(folder) / "config.yml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        nnictl = str(Path(sys.executable).with_name("nnictl"))
        command = [nnictl, "create", "--config", str(path), "--port", str(port)]
        # The trials' python3 is this one.
        bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": bin_first, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise RuntimeError(f"nnictl create failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        identity = next(p.name for p in Path(folder).glob("[!_.]*") if p.is_dir())
        try:
            while (status := _rest(port, "check-status"))["status"] not in ("DONE", "ERROR"):
                time.sleep(1.0)
            if status["status"] == "ERROR":
                raise RuntimeError(f"experiment {identity} ended in an error: {status['errors']}")
            jobs = [j for j in _rest(port, "trial-jobs") if j["status"] == "SUCCEEDED"]
            if not jobs:
                errors = [p.read_text(encoding="utf-8") for p in Path(folder).glob("**/stderr")]
                raise RuntimeError(f"no trial succeeded; stderr of the first: {errors[:1]}")
        finally:
            subprocess.run([nnictl, "stop", identity], capture_output=True, check=False)
    begin = min(job["startTime"] for job in jobs)
    return [
        {
            "seconds": (job["endTime"] - begin) / 1000,
            **json.loads(json.loads(job["finalMetricData"][0]["data"])),
        }
        for job in sorted(jobs, key=lambda job: job["endTime"])
    ]


def patiently(settings: dict[str, Any], port: int) -> list[dict[str, Any]]:
    """Runs an experiment, up to three times if NNI did not come up in time.

    It gives its web server 3 seconds and a tuner 10, in which a busy machine may not even import
    Optuna.
    """
    for last in (False, False, True):
        try:
            return run(settings, port)
        except RuntimeError as error:
            if last or not any(word in str(error) for word in _LATE):
                raise
    raise AssertionError("the last attempt returns or raises")


def _rest(port: int, path: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/api/v1/nni/{path}", timeout=60) as answer:
        return json.loads(answer.read())


def volumes(trials: list[dict[str, Any]], scales: dict[str, float]) -> list[float]:
    """Hypervolume after each trial: accuracy from 0, costs as shares of the 8-bit network's.

    The reference point is an accuracy of 0 at 1.1 times its costs; 1.21 would be the ideal.
    """
    points = np.array([[1 - t["accuracy"], *(t[n] / scales[n] for n in COSTS)] for t in trials])
    reference = np.array([1.0, 1.1, 1.1])
    return [ga.hypervolume(points[: i + 1], reference) for i in range(len(points))]


def curves(rows: pd.DataFrame, search: str) -> pd.DataFrame:
    """Hypervolume of a search after each trial, one column for each seed."""
    own = rows[rows["search"] == search]
    return own.pivot_table(index="trial", columns="seed", values="hypervolume").ffill()


def summary(path: Path) -> str:
    """Hypervolumes and smallest accurate networks of each search, as a Markdown table.

    Means and standard deviations over seeds. The last column says after how many trials the mean
    of ours has what the mean of the row's search has at its end.
    """
    rows = pd.read_csv(path)
    ours = curves(rows, "ours").mean(axis=1)
    marks = [mark for mark in (25, 50, 100) if mark <= rows["trial"].max()]
    lines = [
        f"| search | seeds | {' | '.join(f'{mark} trials' for mark in marks)} | minutes "
        "| smallest within 2 points, KB | within 5 | ours after |",
        "|---" * (len(marks) + 6) + "|",
    ]
    for name, found in rows.groupby("search", sort=False):
        shares = curves(rows, str(name))
        goal = shares.mean(axis=1).iloc[-1]
        there = [int(trial) for trial in ours[ours >= goal].index]
        cells = [
            str(name),
            str(shares.shape[1]),
            *(spread(shares.loc[mark]) for mark in marks),
            f"{found.groupby('seed')['seconds'].max().mean() / 60:.1f}",
            *(smallest(found, loss) for loss in (0.02, 0.05)),
            "" if name == "ours" else after(there),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def after(there: list[int]) -> str:
    """The first of the trials at which something was there."""
    return f"{min(there)} trials" if there else "not reached"


def smallest(found: pd.DataFrame, loss: float) -> str:
    """The mean over seeds of the smallest network that loses no more; in how many there is one."""
    good = found[found["accuracy"] >= found["baseline_accuracy"] - loss]
    sizes, seeds = good.groupby("seed")["size_kb"].min(), found["seed"].nunique()
    if sizes.empty:
        return "none"
    return f"{sizes.mean():.1f}" + ("" if len(sizes) == seeds else f" ({len(sizes)} of {seeds})")


def plot(path: Path) -> None:
    """Hypervolume against trials and against wall time: mean over seeds, and all seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    rows = pd.read_csv(path)
    for i, name in enumerate(rows["search"].unique()):
        width = 3.0 if name == "ours" else 1.5
        shares = curves(rows, name)
        left.plot(shares.mean(axis=1), label=name, linewidth=width, color=f"C{i}")
        left.fill_between(
            shares.index, shares.min(axis=1), shares.max(axis=1), color=f"C{i}", alpha=0.15
        )
        for _, own in rows[rows["search"] == name].groupby("seed"):
            right.plot(own["seconds"] / 60, own["hypervolume"], color=f"C{i}", linewidth=width / 2)
    left.set(xlabel="trials", ylabel="hypervolume (mean, and range over seeds)")
    right.set(xlabel="minutes")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(path.with_suffix(".png"), dpi=90, bbox_inches="tight")
    plt.close(figure)


def from_float(command: str) -> str:
    """A trial's command without its supernet: the published figures are of trials from float."""
    return re.sub(r" --train-supernet \S+", "", command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--searches", nargs="*", help="names; default: all four")
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--output", type=Path, default=RESULTS / "real-kws.csv")
    parser.add_argument("--plot", action="store_true", help="only draw what is there")
    args = parser.parse_args()
    # A terminated benchmark stops its experiment like an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not args.plot:
        config = yaml.safe_load((CONFIGS / "ga_joint_kws.yml").read_text(encoding="utf-8"))
        scales = int8_costs(config)
        names = args.searches or list(tuners(config, scales, 0))
        for seed, name in itertools.product(args.seeds, names):
            rows = pd.read_csv(args.output) if args.output.exists() else pd.DataFrame()
            if len(rows):
                own = (rows["search"] == name) & (rows["seed"] == seed)
                if own.sum() >= args.trials:
                    continue
                rows = rows[~own]
            settings = {
                **config,
                "searchSpaceFile": str(CONFIGS / config["searchSpaceFile"]),
                "trialCodeDirectory": str(CONFIGS),
                "trialCommand": f"{from_float(config['trialCommand'])} --epochs {args.epochs}",
                "maxTrialNumber": args.trials,
                "tuner": tuners(config, scales, seed)[name],
            }
            trials = patiently(settings, args.port)
            found = pd.DataFrame(
                {
                    "search": name,
                    "seed": seed,
                    "trial": range(1, len(trials) + 1),
                    "seconds": [round(t["seconds"], 1) for t in trials],
                    **{key: [t[key] for t in trials] for key in COLUMNS},
                    "hypervolume": [round(v, 5) for v in volumes(trials, scales)],
                }
            )
            pd.concat([rows, found]).to_csv(args.output, index=False, lineterminator="\n")
            print(f"{name}, seed {seed}: {found.iloc[-1].to_dict()}", flush=True)
    plot(args.output)
    print(summary(args.output))


if __name__ == "__main__":
    main()
