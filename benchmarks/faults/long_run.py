"""A night's search in short: failing trials, and kill -9 of everything every few minutes.

    python -m benchmarks.faults.long_run [--trials 2000] [--short] [--output long_run.json]

A search over a published table runs in the real NNI, started by ``joint-ga run``. A fifth of its
trials fail, in eleven ways. Every two to three minutes manager, tuner, both or everything (trials
and ``joint-ga`` too) are killed with ``kill -9``, and ``joint-ga resume`` is all that is done about
it. In the end the tuner's journal is compared with what each trial wrote down itself, and the
hypervolume with the same search when nothing is killed. The exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.faults.books import Books, audit
from benchmarks.faults.driver import (
    FRONTEND,
    MANAGER,
    TRIAL,
    TUNER,
    Experiment,
    NotStartedError,
    load,
)
from benchmarks.faults.table_task import Table, write_experiment
from nni_plugin.study.trial_log import TrialLog

SHARE = 0.2
KILLS: dict[str, tuple[str, ...]] = {
    "manager": (MANAGER,),
    "tuner": (TUNER,),
    "both": (MANAGER, TUNER),
    "everything": (FRONTEND, MANAGER, TUNER, TRIAL),
}
SHORT_KILLS = ("both", "everything")
SHORT_TRIALS = 24
_NOTICE_S = 180.0
_MOST_RESUMES = 3
_UNDISTURBED = (1, 2, 3)
_POINTS = (100, 200, 400, 800, 1600)


@dataclass(frozen=True)
class Options:
    """How long, and how often something is killed.

    Attributes:
        trials: NNI's ``maxTrialNumber``.
        kills: names of ``KILLS``, taken in turn.
        every_s: least and most seconds from one kill to the next, while it runs.
        most_kills: after so many nothing is killed any more; None for no limit.
        results: so many new results have to come between two kills.
        seed: of the faults, the search and the times.
        limit_s: after so long the experiment is stopped in order.
    """

    trials: int
    kills: Sequence[str] = tuple(KILLS)
    every_s: tuple[float, float] = (120.0, 180.0)
    most_kills: int | None = None
    results: int = 0
    seed: int = 0
    limit_s: float = math.inf


SHORT = Options(SHORT_TRIALS, SHORT_KILLS, (0.0, 0.0), most_kills=2, results=4)


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        books: what does not add up.
        kills: how often each kind was killed.
        notice_s: seconds until ``joint-ga run`` had said so and ended, by kind.
        resumes_s: seconds from ``joint-ga resume`` to the running experiment.
        failed_resumes: what a resume said that did not work.
        ended_alone: exit status and last line of each end that nobody caused.
        peak_mb: the tuner's largest resident memory, MiB.
        hours: of the whole run.
        hypervolume: share of the true front's, by number of results.
        undisturbed: the same of searches in which nothing is killed.
        finished: whether it got to its last trial.
    """

    books: Books = field(default_factory=Books)
    kills: dict[str, int] = field(default_factory=dict)
    notice_s: dict[str, list[float]] = field(default_factory=dict)
    resumes_s: list[float] = field(default_factory=list)
    failed_resumes: list[str] = field(default_factory=list)
    ended_alone: list[str] = field(default_factory=list)
    peak_mb: float = 0.0
    hours: float = 0.0
    hypervolume: dict[int, float] = field(default_factory=dict)
    undisturbed: dict[int, list[float]] = field(default_factory=dict)
    finished: bool = False

    @property
    def in_order(self) -> bool:
        """Whether nothing was lost and nothing but ``joint-ga resume`` was needed."""
        return not (self.books.wrong() or self.failed_resumes)


def long_run(folder: Path, options: Options) -> Outcome:
    """Run it to its last trial.

    Args:
        folder: for everything that it writes; must be empty.
        options: how long, and what is killed.
    """
    table = Table.load(options.seed, SHARE)
    write_experiment(folder, table, options.trials, seed=options.seed)
    experiment, outcome = Experiment(folder), Outcome()
    begin = time.monotonic()
    try:
        experiment.run()
        _disturb(experiment, outcome, options, begin + options.limit_s)
    finally:
        experiment.end()
    outcome.hours = (time.monotonic() - begin) / 3600
    outcome.resumes_s = experiment.starts_s[1:]
    outcome.peak_mb = experiment.peak_kb / 1024
    outcome.books = audit(table, experiment.journal, folder / "ledger")
    found = [trial.metrics for trial in TrialLog.read(experiment.journal).finished("complete")]
    outcome.hypervolume = _curve(table, found)
    return outcome


def _disturb(experiment: Experiment, outcome: Outcome, options: Options, end: float) -> None:
    """Kill and resume until the experiment is through, or until ``end`` of the monotonic clock."""
    rng, kinds = random.Random(options.seed), itertools.cycle(options.kills)
    most = math.inf if options.most_kills is None else options.most_kills
    while time.monotonic() < end:
        is_left_alone = sum(outcome.kills.values()) >= most
        code = _work(experiment, rng.uniform(*options.every_s), options.results, end, is_left_alone)
        if code == 0:
            outcome.finished = True
            return
        if code is not None:
            last = experiment.tool.text.strip().splitlines()[-1]
            outcome.ended_alone.append(f"{code}: {last}")
        elif not is_left_alone and time.monotonic() < end:
            _kill(experiment, outcome, next(kinds))
        if experiment.tool.process.poll() is not None:
            _resume(experiment, outcome)
    experiment.send(signal.SIGINT, FRONTEND)
    experiment.wait(_NOTICE_S)


def _work(
    experiment: Experiment, seconds: float, results: int, end: float, is_left_alone: bool
) -> int | None:
    """Wait until something is to be killed; returns the exit status if it ends before."""
    due, goal = time.monotonic() + seconds, experiment.results() + results

    def is_due() -> bool:
        return not is_left_alone and time.monotonic() >= due and experiment.results() >= goal

    return experiment.wait(end - time.monotonic(), is_due)


def _kill(experiment: Experiment, outcome: Outcome, kind: str) -> None:
    whom = KILLS[kind]
    start = time.monotonic()
    experiment.kill(*whom)
    outcome.kills[kind] = outcome.kills.get(kind, 0) + 1
    code = experiment.wait(_NOTICE_S)
    if FRONTEND not in whom:
        outcome.notice_s.setdefault(kind, []).append(time.monotonic() - start)
    print(
        f"{time.strftime('%H:%M:%S')} kill -9 {kind}: {experiment.results()} results, "
        f"joint-ga ended with {code} after {time.monotonic() - start:.0f} s",
        flush=True,
    )
    if code is None:
        outcome.failed_resumes.append(f"after kill -9 of {kind} joint-ga run noticed nothing")
        experiment.kill(FRONTEND)
        experiment.wait(_NOTICE_S)


def _resume(experiment: Experiment, outcome: Outcome) -> None:
    for last in (*[False] * (_MOST_RESUMES - 1), True):
        try:
            experiment.resume()
            return
        except NotStartedError as error:
            outcome.failed_resumes.append(str(error))
            print(f"{time.strftime('%H:%M:%S')} {error}", flush=True)
            if last:
                raise


def _curve(table: Table, results: list[dict[str, float]]) -> dict[int, float]:
    points = sorted({*(p for p in _POINTS if p < len(results)), len(results)})
    return {number: table.share_of_hypervolume(results[:number]) for number in points}


def compare_undisturbed(outcome: Outcome, options: Options) -> None:
    """Run the same search without kills, once for each of three seeds, to as many results."""
    table = Table.load(options.seed, SHARE)
    tried = outcome.books.complete + outcome.books.failed
    for seed in _UNDISTURBED:
        with tempfile.TemporaryDirectory() as name:
            results = table.undisturbed(Path(name), tried, seed)
        for number in outcome.hypervolume:
            outcome.undisturbed.setdefault(number, []).append(
                table.share_of_hypervolume(results[:number])
            )


def show(outcome: Outcome) -> str:
    """The table of the docs."""
    books = outcome.books
    kills = ", ".join(f"{kind} {number}" for kind, number in outcome.kills.items())
    rows: list[tuple[str, object]] = [
        ("trials of NNI, and starts of their processes", f"{books.trials}, {books.runs}"),
        ("chromosomes asked: complete, failed, open",
         f"{books.asked}: {books.complete}, {books.failed}, {books.open}"),
        ("kill -9", kills or "none"),
        ("hours", f"{outcome.hours:.2f}"),
        ("results lost", len(books.lost)),
        ("told twice", len(books.told_twice)),
        ("asked again by the tuner", len(books.asked_again)),
        ("same chromosome under two numbers", len(books.asked_twice)),
        ("result of another chromosome", len(books.wrong_pairs)),
        ("second of two results counted", len(books.second_taken)),
        ("failed though it had a good trial", len(books.failed_wrongly)),
        ("unusable result counted", len(books.taken_wrongly)),
        ("repeated by NNI itself after its result", len(books.repeated_by_nni)),
        ("resumes that did not work", len(outcome.failed_resumes)),
        ("ends that nobody caused", len(outcome.ended_alone)),
        ("tuner's peak memory, MiB", f"{outcome.peak_mb:.0f}"),
    ]  # fmt: skip
    for kind, seconds in outcome.notice_s.items():
        worst = f"{statistics.median(seconds):.0f}, {max(seconds):.0f}"
        rows.append((f"kill of {kind} to the end of joint-ga, s: median, worst", worst))
    if outcome.resumes_s:
        middle = statistics.median(outcome.resumes_s)
        rows.append(
            ("joint-ga resume to running, s: median, worst",
             f"{middle:.0f}, {max(outcome.resumes_s):.0f}")
        )  # fmt: skip
    for number, share in outcome.hypervolume.items():
        others = " ".join(f"{x:.4f}" for x in outcome.undisturbed.get(number, []))
        rows.append(
            (f"hypervolume after {number} results (undisturbed)", f"{share:.4f} ({others})")
        )
    lines = ["| Figure | Value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def _save(outcome: Outcome, file: Path | None) -> None:
    if file is not None:
        whole = {**asdict(outcome), "machine": load()}
        file.write_text(json.dumps(whole, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    every = "least and most seconds from one kill to the next (default: 120 180)"
    parser.add_argument("--every", type=float, nargs=2, default=(120.0, 180.0), help=every)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop in order after so long"
    )
    parser.add_argument("--short", action="store_true", help="two kills, in about a minute")
    parser.add_argument("--output", type=Path, help="write the outcome there, as JSON")
    parser.add_argument("--folder", type=Path, help="keep everything in this new folder")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    every_s = (args.every[0], args.every[1])
    options = Options(args.trials, every_s=every_s, seed=args.seed, limit_s=60 * args.minutes)
    options = SHORT if args.short else options
    with tempfile.TemporaryDirectory() as name:
        folder = Path(args.folder or Path(name) / "long_run").absolute()
        outcome = long_run(folder, options)
    _save(outcome, args.output)
    if not args.short:
        compare_undisturbed(outcome, options)
        _save(outcome, args.output)
    print(show(outcome))
    for kind, uids in outcome.books.wrong().items():
        print(f"{kind}: uids {uids}")
    return 0 if outcome.in_order and outcome.finished else 1


if __name__ == "__main__":
    sys.exit(main())
