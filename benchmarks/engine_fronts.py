"""One search on every engine, and in Optuna: whether all ask for the same and find the same front.

    python -m benchmarks.engines --fronts [--trials 30] [--seeds 1] [--surrogate auto]

One trial runs at a time. Both hashes are of text that holds every digit: the first of all
chromosomes in the order in which they were asked for, the second of the front's chromosomes with
their objectives. Numbers count by their value: NNI's server writes 8.0 as 8. Optuna's front is the
one that Optuna itself finds (``study.best_trials``).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import engines
from benchmarks.faults.table_task import Table, class_args
from nni_plugin import search_space
from nni_plugin.engines.driver import Budget, Driver
from nni_plugin.engines.in_process import InProcessEngine
from nni_plugin.protocol.json_types import NniSpace, Params
from nni_plugin.results.experiment import Experiment
from nni_plugin.study.study import Study
from nni_plugin.study.tuner_args import TunerArgs

__all__ = ["Found", "Problem", "in_optuna", "in_process", "table_problem"]

_POPULATION = 8
"""Small, so that a few trials are more than the first generation."""

_ENGINES = {
    "local, warm": ("--engine", "local", "--warm"),
    "local, fresh": ("--engine", "local", "--no-warm"),
    "ray": ("--engine", "ray", "--warm"),
    "nni": (),
}
_NEEDS = {"nni": "nni", "ray": "ray", "Optuna": "optuna"}
_DIGITS = 12


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Attributes:
        space: NNI's search space.
        class_args: the tuner's, with ``objectives`` and ``seed``.
        evaluate: from a chromosome to its metrics.
    """

    space: NniSpace
    class_args: dict[str, object]
    evaluate: Callable[[Params], Mapping[str, float]]


@dataclass(frozen=True)
class Found:
    """What a search did, as text that holds every digit.

    Attributes:
        asked: the chromosomes, in the order in which they were asked for.
        front: the front's chromosomes with their objectives, sorted.
    """

    asked: tuple[str, ...]
    front: tuple[str, ...]

    @classmethod
    def in_folder(cls, folder: Path) -> Found:
        """That of an experiment's folder."""
        experiment = Experiment(folder)
        log = experiment.log
        points = [(t.params, {m: t.metrics[m] for m in log.objectives}) for t in experiment.front()]
        asked = [log.trials[uid].params for uid in sorted(log.trials)]
        return cls.of(asked, points)

    @classmethod
    def of(cls, asked: list[Params], points: list[tuple[Params, Mapping[str, float]]]) -> Found:
        """The same of chromosomes and points."""
        return cls(
            tuple(_text(params) for params in asked),
            tuple(sorted(f"{_text(params)}: {_text(metrics)}" for params, metrics in points)),
        )


def _text(named: Mapping[str, object]) -> str:
    values = {n: float(x) if isinstance(x, int) else x for n, x in named.items()}
    return json.dumps(values, sort_keys=True)


def in_process(problem: Problem, trials: int, folder: Path) -> Found:
    """The engine ``inprocess``, as ``nni_plugin.search`` uses it."""
    args = TunerArgs.parse(problem.class_args)
    with contextlib.closing(Study(args, problem.space, folder / "journal.jsonl")) as study:
        engine = InProcessEngine(problem.evaluate)
        ended = Driver(study, engine, folder, 1, Budget(trials)).run()
    if ended.error is not None:
        raise ended.error
    return Found.in_folder(folder)


def in_optuna(problem: Problem, trials: int) -> Found:
    """An Optuna study with our sampler."""
    import optuna

    from nni_plugin.adapters.optuna import JointGASampler, suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = dict(problem.class_args)
    objectives = options.pop("objectives")
    assert isinstance(objectives, dict)
    space = search_space.parse(problem.space)
    sampler = JointGASampler(space, metrics=list(objectives), **options)  # type: ignore[arg-type]  # each option has a type of its own
    study = optuna.create_study(directions=list(objectives.values()), sampler=sampler)
    asked: list[Params] = []

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        params = suggest(trial, space)
        asked.append(params)
        metrics = problem.evaluate(params)
        return tuple(metrics[name] for name in objectives)

    study.optimize(objective, n_trials=trials)
    points = [
        (asked[trial.number], dict(zip(objectives, trial.values, strict=True)))
        for trial in study.best_trials
    ]
    return Found.of(asked, points)


def table_problem(seed: int, surrogate: str) -> Problem:
    """The search over the published table that the speed of the engines is measured with."""
    table = Table.load(seed, share=0.0)
    args = {**class_args(seed), "surrogate": surrogate, "population_size": _POPULATION}
    return Problem(table.space(), args, lambda params: table.row(params).metrics)


def print_table(trials: int, seeds: int, surrogate: str) -> bool:
    """Searches everywhere and prints a line for each; returns whether all lines are alike."""
    print("| Seed | Where | Trials | On the front | Hash of what was asked | Hash of the front |")
    print("|---|---|---|---|---|---|", flush=True)
    alike = True
    for seed in range(seeds):
        lines = set()
        for name, found in _everywhere(seed, trials, surrogate):
            line = f"{len(found.asked)} | {len(found.front)} | {_hash(found.asked)} | "
            line += _hash(found.front)
            print(f"| {seed} | {name} | {line} |", flush=True)
            lines.add(line)
        alike = alike and len(lines) == 1
    return alike


def _everywhere(seed: int, trials: int, surrogate: str) -> Iterator[tuple[str, Found]]:
    problem = table_problem(seed, surrogate)
    with tempfile.TemporaryDirectory(prefix="fronts-") as folder:
        yield "in process", in_process(problem, trials, Path(folder))
    if _is_here("Optuna"):
        yield "Optuna", in_optuna(problem, trials)
    for name, options in _ENGINES.items():
        if not _is_here(name):
            continue
        with tempfile.TemporaryDirectory(prefix="fronts-") as folder:
            home = Path(folder)
            config = engines.write(home, trials, problem.class_args, concurrency=1)
            yield name, Found.in_folder(engines.run(home, config, options))


def _is_here(name: str) -> bool:
    """Whether what it needs is installed; says so if not."""
    module = _NEEDS.get(name)
    if module is None or importlib.util.find_spec(module) is not None:
        return True
    print(f"{name}: not run, {module} is not installed", file=sys.stderr)
    return False


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]
