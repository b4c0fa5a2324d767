"""The long run in short: real NNI, failing trials, two kills; and the books find what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import report
from benchmarks.faults.books import audit
from benchmarks.faults.faulty_trial import FAULTS, second_value
from benchmarks.faults.long_run import SHORT, long_run, show
from benchmarks.faults.resume import resume
from benchmarks.faults.table_task import Row, Table
from nni_plugin.study.journal import Journal


@pytest.mark.slow
@pytest.mark.nni
def test_nothing_is_lost_and_resume_is_all_that_is_needed(tmp_path: Path) -> None:
    outcome = long_run(tmp_path / "run", SHORT)
    said = show(outcome)
    assert outcome.finished, said
    assert outcome.in_order, (outcome.books.wrong(), outcome.failed_resumes)
    assert outcome.kills == {"both": 1, "everything": 1}
    assert not outcome.ended_alone
    assert outcome.books.trials >= SHORT.trials
    assert outcome.books.failed > 0, "some trials were to fail"
    assert 0 < outcome.peak_mb < 300


@pytest.mark.slow
def test_a_resume_is_quick_and_small() -> None:
    figures = resume(1000)
    assert figures["results"] == 1000
    assert figures["ready_cpu_s"] < 10
    assert figures["candidate_cpu_s"] < 5
    assert figures["peak_mb"] < 250


def test_the_table_draws_the_same_faults_again() -> None:
    table = Table.load(3, 0.2)
    faults = [row.fault for row in table.rows.values()]
    assert faults == [row.fault for row in Table.load(3, 0.2).rows.values()]
    assert {fault for fault in faults if fault} == set(FAULTS)
    assert len(FAULTS) == 11
    assert 0.15 < sum(fault is not None for fault in faults) / len(faults) < 0.25
    assert table.share_of_hypervolume([row.metrics for row in table.rows.values()]) == 1


class Past:
    """A journal and ledgers, written as tuner and trials write them."""

    def __init__(self, folder: Path) -> None:
        self.table = Table.load(0, 0.2)
        self.folder = folder
        (folder / "ledger").mkdir()
        self.events: list[dict[str, Any]] = []

    def row(self, fault: str | None, number: int = 0) -> Row:
        return [row for row in self.table.rows.values() if row.fault == fault][number]

    def journal(self, event: str, uid: int, **fields: Any) -> None:
        with Journal(self.folder / "journal.jsonl") as journal:
            journal.append(event, uid=uid, **fields)

    def trial(self, uid: int, row: Row, trial: str, *, start: float, reported: bool) -> None:
        words: list[dict[str, Any]] = [
            {"event": "start", "pid": 1, "time": start},
            {"event": "parameters", "pid": 1, "params": {**row.params, "uid": uid}},
        ]
        words += [{"event": "reported", "pid": 1}] if reported else []
        with (self.folder / "ledger" / f"{trial}.jsonl").open("a") as file:
            file.writelines(json.dumps(word) + "\n" for word in words)

    def wrong(self) -> dict[str, list[int]]:
        return audit(self.table, self.folder / "journal.jsonl", self.folder / "ledger").wrong()


@pytest.fixture
def past(tmp_path: Path) -> Past:
    made = Past(tmp_path)
    row = made.row(None)
    made.journal("ask", 1, params=row.params)
    made.trial(1, row, "a", start=0, reported=True)
    made.journal("tell", 1, metrics=row.metrics, trial="a")
    made.journal("ask", 2, params=made.row("nan").params)
    made.trial(2, made.row("nan"), "b", start=0, reported=True)
    made.journal("fail", 2, reason="NaN", trial="b")
    return made


def test_books_that_are_in_order(past: Past) -> None:
    assert past.wrong() == {}
    past.trial(1, past.row(None), "a", start=1e12, reported=True)
    assert past.wrong() == {}, "NNI itself repeats a trial"


def test_a_lost_result_is_found(past: Past) -> None:
    row = past.row(None, 1)
    past.journal("ask", 3, params=row.params)
    past.trial(3, row, "c", start=0, reported=True)
    assert past.wrong() == {"lost": [3]}
    past.journal("fail", 3, reason="gone", trial="c")
    assert past.wrong() == {"lost": [3], "failed_wrongly": [3]}


def test_a_result_told_twice_and_one_of_another_are_found(past: Past) -> None:
    other, two = past.row(None, 1), past.row("two_results")
    past.journal("tell", 1, metrics=other.metrics, trial="a")
    past.journal("ask", 3, params=other.params)
    past.journal("tell", 3, metrics=past.row(None).metrics, trial="c")
    past.journal("ask", 4, params=two.params)
    past.journal("tell", 4, metrics=second_value(two.metrics), trial="d")
    past.journal("tell", 2, metrics=past.row("nan").metrics, trial="b")
    assert past.wrong() == {
        "told_twice": [1],
        "wrong_pairs": [3],
        "second_taken": [4],
        "taken_wrongly": [2],
    }


def test_what_is_asked_again_is_found(past: Past) -> None:
    row = past.row(None)
    past.journal("ask", 5, params=row.params)
    past.trial(1, row, "e", start=1e12, reported=True)
    past.trial(2, row, "b", start=0, reported=False)
    assert past.wrong() == {"asked_twice": [5], "asked_again": [1], "wrong_pairs": [2]}


def test_the_report_prints_every_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["report"])
    report.main()
    said = capsys.readouterr().out
    assert re.search(r"results lost \| \d", said)
    assert re.search(r"kill -9 everything \| \d of \d", said)
    assert re.search(r"\| 10,000 \| \d+\.\d", said)
