"""A clock that is set, in the midst of a search: what came first is the order of the lines.

Journals are written by the real tuner; only what the machine says of the date is made up.
"""

from __future__ import annotations

import csv
import itertools
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_plugin.results.experiment import Experiment
from nni_plugin.results.live_page import PageData
from nni_plugin.results.report import write_report
from nni_plugin.study.journal import Event, read
from nni_plugin.study.trial_log import TrialLog
from support.tuner_process import Dispatcher

YEAR = 365 * 24 * 3600.0
STEADY = [0.0] * 40
JUMPS = {
    "back": [0.0] * 12 + [-YEAR] * 28,
    "back and put right": [0.0] * 9 + [-YEAR] * 9 + [0.0] * 22,
    "forward and put right": [0.0] * 9 + [YEAR] * 9 + [0.0] * 22,
    "always back": [-3600.0 * i for i in range(40)],
}


def search(folder: Path, monkeypatch: pytest.MonkeyPatch, offsets: list[float]) -> list[Event]:
    """A search of two processes, the second of which resumes; returns its journal."""
    left: Iterator[float] = iter(offsets)
    now = time.time
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(checkpoint))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(folder))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    monkeypatch.setattr(
        "nni_plugin.study.journal.time.time", lambda: now() + next(left, offsets[-1])
    )
    for first_id in (0, 100):
        process = Dispatcher(checkpoint, first_id, constraints={"price": "<= 2"})
        process.space()
        for _ in range(2):
            ids = process.ask(3)
            # The last one first.
            for parameter_id in reversed(ids):
                process.tell(parameter_id)
                process.end(parameter_id, True)
        process.ask(1)
        process.exit()
        process._let_go()
    monkeypatch.undo()
    return read(checkpoint / "journal.jsonl")


def timeless(events: list[Event]) -> list[Event]:
    return [{k: v for k, v in event.items() if k not in ("time", "uptime")} for event in events]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{k: v for k, v in row.items() if k != "asked"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("offsets", JUMPS.values(), ids=JUMPS.keys())
def test_a_clock_that_is_set_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offsets: list[float]
) -> None:
    begin = time.monotonic()
    steady = search(tmp_path / "steady", monkeypatch, STEADY)
    odd = search(tmp_path / "odd", monkeypatch, offsets)
    took = time.monotonic() - begin
    assert any(a["time"] > b["time"] for a, b in itertools.pairwise(odd))
    # The search: what was asked, told and resumed, line for line.
    assert timeless(odd) == timeless(steady)
    logs = [
        TrialLog.read(tmp_path / name / "checkpoint" / "journal.jsonl")
        for name in ("steady", "odd")
    ]
    assert [t.uid for t in logs[1].finished()] == [t.uid for t in logs[0].finished()]
    # What is shown of it.
    experiments = [Experiment(tmp_path / name) for name in ("steady", "odd")]
    histories = [experiment.history() for experiment in experiments]
    assert (histories[1].front, histories[1].steps) == (histories[0].front, histories[0].steps)
    reports = [write_report(e, tmp_path / f"report-{e.id}") for e in experiments]
    for name in ("trials", "front"):
        assert rows(reports[1][name]) == rows(reports[0][name])
    data = PageData(TrialLog(experiments[1].journal))
    data.refresh()
    times = [json.loads(line)[2] for line in data.points]
    curve = [seconds for _, seconds, _ in data.state()["hypervolume"]]
    for shown in (times, curve):
        assert shown == sorted(shown)
        assert 0 <= shown[0] <= shown[-1] <= data.state()["elapsed"] <= took + 0.1


def test_an_old_journal_without_uptimes_shows_no_odd_durations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path / "exp", monkeypatch, JUMPS["back"])
    journal = tmp_path / "exp" / "checkpoint" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        del line["uptime"]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = PageData(TrialLog(journal))
    data.refresh()
    times = [json.loads(line)[2] for line in data.points]
    assert times == sorted(times)
    assert 0 <= times[0] <= data.state()["elapsed"] < 600


def test_nnis_own_records_count_in_the_order_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path / "exp", monkeypatch, JUMPS["back"])
    database = tmp_path / "exp" / "db" / "nni.sqlite"
    database.parent.mkdir()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE TrialJobEvent (timestamp, trialJobId, event)")
        jobs = [("t0", 0), ("t1", 1000)]
        for job, before in jobs:
            events = [(9000, "WAITING"), (9500, "RUNNING"), (8000 + 2 * before, "SUCCEEDED")]
            connection.executemany(
                "INSERT INTO TrialJobEvent VALUES (?, ?, ?)", [(t, job, e) for t, e in events]
            )
    frame = Experiment(tmp_path / "exp").frame().set_index("trial")
    assert list(frame.loc[["t0", "t1"], "nni_status"]) == ["SUCCEEDED", "SUCCEEDED"]
    assert frame.loc["t0", "duration_s":"duration_s"].isna().all()
    assert frame.loc["t1", "duration_s"] == 0.5
