"""Ordinary searches of one number: `PYTHONPATH=. python benchmarks/search/one_number.py`.

Ours, samplers of Optuna and NNI's own tuners on the tables of `one_number_problems.py`, each with
its default settings and the space in its own form. Appends one line per run to
`results/one-number.csv`, skipping runs that are there, and prints the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from one_number_problems import OneNumber, load, names
from scipy.stats import rankdata, wilcoxon

import ga
from nni_plugin import search_space

RESULTS = Path(__file__).parent / "results" / "one-number.csv"
MARKS = (30, 100, 200)
_ERROR = "error"

Run = tuple[list[float], list[float]]
"""The errors, and how long each request took, in seconds of CPU."""


def _timed(ask: Callable[[], Any], asked: list[float]) -> Any:
    begin = time.process_time()
    params = ask()
    asked.append(time.process_time() - begin)
    return params


def ours(problem: OneNumber, seed: int, trials: int) -> Run:
    """This project's optimizer as its tuner makes it of an NNI space, nothing set."""
    space = search_space.parse(problem.space)
    optimizer = ga.Optimizer(space, {_ERROR: "minimize"}, seed=seed)
    errors: list[float] = []
    asked: list[float] = []
    for _ in range(trials):
        candidate = _timed(optimizer.ask, asked)
        errors.append(problem.error(candidate.params))
        begin = time.process_time()
        optimizer.tell(candidate.id, {_ERROR: errors[-1]})
        asked[-1] += time.process_time() - begin
    return errors, asked


def _suggested(trial: Any, space: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A point of an NNI space by Optuna's suggestions, ranges and log scales as they are."""
    params: dict[str, Any] = {}
    for key, entry in space.items():
        kind, value, name = entry["_type"], entry["_value"], prefix + key
        if kind == "choice" and isinstance(value[0], dict):
            options = {option["_name"]: option for option in value}
            chosen = trial.suggest_categorical(name, list(options))
            inner = {k: v for k, v in options[chosen].items() if k != "_name"}
            params[key] = {"_name": chosen, **_suggested(trial, inner, f"{name}.{chosen}.")}
        elif kind == "choice" and isinstance(value[0], str):
            params[key] = trial.suggest_categorical(name, value)
        elif kind == "choice":
            params[key] = value[trial.suggest_int(name, 0, len(value) - 1)]
        elif kind == "randint":
            params[key] = trial.suggest_int(name, value[0], value[1] - 1)
        elif kind == "qloguniform":
            params[key] = trial.suggest_int(name, value[0], value[1], log=True)
        else:
            params[key] = trial.suggest_float(name, *value, log=kind == "loguniform")
    return params


def optuna_of(kind: str, **options: Any) -> Callable[[OneNumber, int, int], Run]:
    """A function that runs one of Optuna's samplers."""

    def run(problem: OneNumber, seed: int, trials: int) -> Run:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        sampler = getattr(optuna.samplers, kind)(seed=seed, **options)
        study = optuna.create_study(sampler=sampler)
        errors: list[float] = []
        asked: list[float] = []
        for _ in range(trials):
            trial = study.ask()
            params = _timed(lambda trial=trial: _suggested(trial, problem.space), asked)
            errors.append(problem.error(params))
            study.tell(trial, errors[-1])
        return errors, asked

    return run


def nni_of(kind: str) -> Callable[[OneNumber, int, int], Run]:
    """One of NNI's own tuners; the first population of its evolution can't be seeded."""

    def run(problem: OneNumber, seed: int, trials: int) -> Run:
        from rival_tuners import nni_tuner  # late: others need no NNI

        tuner = nni_tuner(kind, seed)
        tuner.update_search_space(problem.space)
        if kind == "anneal":  # it takes no seed, and NNI seeds it from the clock
            tuner.rval.rstate = np.random.RandomState(seed)
        errors: list[float] = []
        asked: list[float] = []
        for number in range(trials):
            params = _timed(lambda number=number: tuner.generate_parameters(number), asked)
            errors.append(problem.error(params))
            if kind == "anneal":  # it fails on numpy's numbers since numpy 2.2
                plain = json.dumps(tuner.total_data[number], default=lambda value: value.item())
                tuner.total_data[number] = json.loads(plain)
            tuner.receive_trial_result(number, params, errors[-1])
            tuner.trial_end(number, True)
        return errors, asked

    return run


SAMPLERS: dict[str, Callable[[OneNumber, int, int], Run]] = {
    "ours": ours,
    "optuna tpe": optuna_of("TPESampler"),
    "optuna tpe multivariate": optuna_of("TPESampler", multivariate=True, group=True),
    "nni tpe": nni_of("tpe"),
    "nni anneal": nni_of("anneal"),
    "nni evolution": nni_of("evolution"),
    "nni random": nni_of("random"),
    "optuna gp": optuna_of("GPSampler"),
}


def report(runs: pd.DataFrame, samplers: list[str]) -> str:
    """Markdown: mean rank and regret over the tables, and p that ours has less regret.

    Ranks are taken within each table and seed that all samplers have. The interval is that of 2,000
    bootstrap samples of the tables; the test is Wilcoxon's, signed ranks of each table's mean.
    """
    lines = []
    for mark in MARKS:
        there = runs[runs.sampler.isin(samplers)].dropna(subset=f"regret{mark}")
        wide = there.pivot(
            index=["problem", "seed"], columns="sampler", values=f"regret{mark}"
        ).reindex(columns=samplers)
        wide = wide.dropna()
        if wide.empty:
            continue
        ranks = pd.DataFrame(rankdata(wide, axis=1), index=wide.index, columns=samplers)
        by_table, losses = ranks.groupby("problem").mean(), wide.groupby("problem").mean()
        lines += [
            f"\n{mark} trials, {len(by_table)} tables, {len(wide)} paired runs",
            "| sampler | mean rank | regret | ask, ms | p, ours less |",
            "|---|---|---|---|---|",
        ]
        p_values = holm({n: less(losses["ours"], losses[n]) for n in samplers if n != "ours"})
        for name in by_table.mean().sort_values().index:
            asks = runs[runs.sampler == name]["ask_ms"].median()
            p = f"{p_values[name]:.2g}" if name in p_values else ""
            cells = [name, interval(by_table[name], 2), interval(losses[name], 3), f"{asks:.0f}", p]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def less(one: pd.Series, other: pd.Series) -> float:
    """One-sided p that the first's values are less."""
    gaps = one - other
    return float(wilcoxon(gaps, alternative="less").pvalue) if (gaps != 0).any() else 1.0


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Corrected for their number (Holm 1979)."""
    corrected, least = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, p * (len(p_values) - place)))
        corrected[name] = least
    return corrected


def interval(values: pd.Series, digits: int) -> str:
    """The mean, and 95 % of the means of bootstrap samples."""
    rng = np.random.default_rng(0)
    means = rng.choice(values.to_numpy(), (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--problems", nargs="*", default=names(), choices=names())
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=max(MARKS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only print the table")
    args = parser.parse_args()
    header = ["problem", "sampler", "seed", "ask_ms", *(f"regret{mark}" for mark in MARKS)]
    if not args.output.exists():
        args.output.write_text(",".join(header) + "\n", encoding="utf-8")
    runs = pd.read_csv(args.output)
    done = set(runs[["problem", "sampler", "seed"]].itertuples(index=False, name=None))
    for seed in () if args.report else range(args.seeds):
        for name in args.problems:
            left = [s for s in args.samplers if (name, s, seed) not in done]
            problem = load(name) if left else None
            for sampler in left:
                assert problem is not None
                errors, asked = SAMPLERS[sampler](problem, seed, args.trials)
                regret = problem.regret(errors)
                row = [name, sampler, seed, f"{1000 * np.median(asked):.1f}"]
                row += [f"{regret[m - 1]:.5f}" if m <= args.trials else "" for m in MARKS]
                with args.output.open("a", encoding="utf-8") as file:
                    csv.writer(file, lineterminator="\n").writerow(row)
    print(report(pd.read_csv(args.output), args.samplers))


if __name__ == "__main__":
    main()
