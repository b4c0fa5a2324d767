"""What page, tables and files show of expected values and finalists."""

from __future__ import annotations

import csv
from contextlib import closing
from pathlib import Path

import pytest

from nni_plugin.cli.tables import finalists_table, front_table, make_console
from nni_plugin.results.experiment import Experiment
from nni_plugin.results.finalists import finalists
from nni_plugin.results.live_page import PageData
from nni_plugin.results.report import write_report
from nni_plugin.study.selection import Pick
from nni_plugin.study.trial_log import TrialLog
from support.final_search import run, search

PLANNED = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a search with two finalists."""
    with closing(search(tmp_path)) as study:
        run(study, PLANNED)
    return tmp_path


def test_the_page_begins_anew_when_expected_values_change(tmp_path: Path) -> None:
    data = PageData(TrialLog(tmp_path / "journal.jsonl"))
    with closing(search(tmp_path)) as study:
        for _ in range(PLANNED):
            before, was = data.generation, data.log.forecasts
            run(study, PLANNED, 1)
            data.refresh()
            assert (data.generation != before) == (data.log.forecasts is not was) or not was
    fresh = PageData(TrialLog(tmp_path / "journal.jsonl"))
    fresh.refresh()
    assert data.points == fresh.points
    assert data.metrics == fresh.metrics
    assert {"expected_accuracy", "expected_accuracy_low", "test_accuracy"} <= set(data.metrics)
    state, again = data.state(), fresh.state()
    assert state["front"] == again["front"]
    rows = state["finalists"]
    assert [row["uid"] for row in rows] == [t.uid for t in data.log.finalists()]
    assert all(row["low"] < row["expected"] < row["high"] for row in rows)
    assert {"measured", "mean", "test", "trainings", "epochs"} <= rows[0].keys()


def test_tables_show_both_and_files_hold_them(folder: Path) -> None:
    experiment = Experiment(folder)
    console = make_console()
    with console.capture() as said:
        console.print(front_table(experiment.log, experiment.history()))
        console.print(finalists_table(experiment.log, finalists(experiment.log)))
    text = said.get()
    assert "expected_accuracy" in text
    assert "Finalists: 2 trained for 40 epochs" in text
    paths = write_report(experiment, folder / "report")
    with paths["trials"].open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["accuracy"]) != float(row["expected_accuracy"]) for row in rows)
    assert sum(bool(row["test_accuracy"]) for row in rows) == 2
    with paths["finalists"].open() as file:
        assert len(list(csv.DictReader(file))) == 2
    front = {t.uid for t in experiment.front()}
    assert front == {int(row["uid"]) for row in rows if row["front"] == "True"}


def test_a_pick_means_the_expected_value(folder: Path) -> None:
    trials = Experiment(folder).log.finished("complete")
    most = max(t.metrics["accuracy"] for t in trials)
    assert all(t.ranked["accuracy"] > t.metrics["accuracy"] for t in trials)
    chosen = Pick.parse(f"accuracy > {most}, min size_kb").choose(trials)
    assert chosen.ranked["accuracy"] > most
    low = Pick.parse("expected_accuracy_low > 0.9, min size_kb").choose(trials)
    assert low.forecast is not None
    assert low.forecast.low > 0.9
