"""The books of a run: the tuner's journal against what each trial wrote down itself."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.faults.faulty_trial import second_value
from benchmarks.faults.table_task import OBJECTIVES, Row, Table
from nni_plugin.study.journal import read

Event = dict[str, Any]


@dataclass
class Books:
    """What does not add up, as the uids that it is about, and how much there was.

    Attributes:
        trials: NNI's trials that started.
        runs: starts of a trial's process; NNI repeats those in flight at a kill.
        asked: chromosomes.
        complete: chromosomes with a result.
        failed: chromosomes that failed.
        open: chromosomes without either; NNI asks ahead.
        lost: reported a good result, and have none in the journal.
        failed_wrongly: have no fault, and count as failed.
        taken_wrongly: gave no usable result, and count as complete.
        told_twice: have two results in the journal.
        asked_twice: are the same chromosome as an earlier uid.
        asked_again: were sent to another trial after their end was known.
        wrong_pairs: have a result that is not theirs, or their trial got other genes.
        second_taken: reported twice, and the second result counts.
        repeated_by_nni: run again by NNI under the same trial, though they had reported.
    """

    trials: int = 0
    runs: int = 0
    asked: int = 0
    complete: int = 0
    failed: int = 0
    open: int = 0
    lost: list[int] = field(default_factory=list)
    failed_wrongly: list[int] = field(default_factory=list)
    taken_wrongly: list[int] = field(default_factory=list)
    told_twice: list[int] = field(default_factory=list)
    asked_twice: list[int] = field(default_factory=list)
    asked_again: list[int] = field(default_factory=list)
    wrong_pairs: list[int] = field(default_factory=list)
    second_taken: list[int] = field(default_factory=list)
    repeated_by_nni: list[int] = field(default_factory=list)

    def wrong(self) -> dict[str, list[int]]:
        """What is wrong, by kind; empty if the books are in order."""
        lists = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: uids
            for name, uids in lists.items()
            if isinstance(uids, list) and uids and name != "repeated_by_nni"
        }


@dataclass
class _Run:
    """One start of a trial's process, as its ledger has it."""

    trial: str
    start: float
    params: Mapping[str, Any] = field(default_factory=dict)
    reported: bool = False


def audit(table: Table, journal: Path, ledger: Path) -> Books:
    """Compare a journal with the ledgers of its trials.

    Args:
        table: what each chromosome's trial had to answer.
        journal: the tuner's.
        ledger: the folder in which trials wrote, a file for each of NNI's trials.
    """
    events = read(journal)
    asked = {event["uid"]: event["params"] for event in reversed(events) if event["event"] == "ask"}
    tells, fails = _by_uid(events, "tell"), _by_uid(events, "fail")
    runs = _runs(ledger)
    books = Books(
        trials=len({run.trial for run in runs}),
        runs=len(runs),
        asked=len(asked),
        complete=len(tells),
        failed=len(fails.keys() - tells.keys()),
        open=len(asked.keys() - tells.keys() - fails.keys()),
    )
    books.asked_twice = _same(asked)
    of_uid: dict[int, list[_Run]] = defaultdict(list)
    for run in runs:
        if "uid" in run.params:
            of_uid[run.params["uid"]].append(run)
    for uid, params in sorted(asked.items()):
        _check(books, table.row(params), uid, params, tells[uid], fails[uid], of_uid[uid])
    return books


def _check(
    books: Books,
    row: Row,
    uid: int,
    params: Mapping[str, Any],
    tells: list[Event],
    fails: list[Event],
    runs: list[_Run],
) -> None:
    reported = any(run.reported for run in runs)
    if row.has_result and reported and not tells:
        books.lost.append(uid)
    if row.has_result and fails and not tells:
        books.failed_wrongly.append(uid)
    if len(tells) > 1:
        books.told_twice.append(uid)
    if tells and not row.has_result:
        books.taken_wrongly.append(uid)
    elif tells and not _equal(tells[0]["metrics"], row.metrics):
        second = row.fault == "two_results" and _equal(
            tells[0]["metrics"], second_value(row.metrics)
        )
        (books.second_taken if second else books.wrong_pairs).append(uid)
    genes = [{n: v for n, v in run.params.items() if n != "uid"} for run in runs]
    if any(got != params for got in genes) and uid not in books.wrong_pairs:
        books.wrong_pairs.append(uid)
    known = min((event["time"] for event in (*tells, *fails)), default=math.inf)
    first = {run.trial for run in runs if run.start <= known}
    later = [run for run in runs if run.start > known]
    if any(run.trial not in first for run in later):
        books.asked_again.append(uid)
    elif later:
        books.repeated_by_nni.append(uid)


def _equal(told: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return all(told.get(name) == expected[name] for name in OBJECTIVES)


def _by_uid(events: Iterable[Event], kind: str) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["event"] == kind:
            found[event["uid"]].append(event)
    return found


def _same(asked: Mapping[int, Mapping[str, Any]]) -> list[int]:
    seen: set[str] = set()
    twice = []
    for uid, params in sorted(asked.items()):
        key = json.dumps(params, sort_keys=True)
        if key in seen:
            twice.append(uid)
        seen.add(key)
    return twice


def _runs(ledger: Path) -> list[_Run]:
    runs = []
    for file in sorted(ledger.glob("*.jsonl")):
        current: dict[int, _Run] = {}
        for line in file.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "start":
                current[event["pid"]] = _Run(file.stem, event["time"])
                runs.append(current[event["pid"]])
            elif event["event"] == "parameters":
                current[event["pid"]].params = event["params"]
            elif event["event"] == "reported":
                current[event["pid"]].reported = True
    return runs
