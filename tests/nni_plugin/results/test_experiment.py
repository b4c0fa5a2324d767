"""Reading an experiment, choosing from it, and the files of a report."""

from __future__ import annotations

import csv
import json
import re
import sqlite3

import pandas as pd
import pytest

from nni_plugin.cli.tables import front_table
from nni_plugin.results.experiment import Experiment, ExperimentError, NoFrontError
from nni_plugin.results.report import chosen_points, compare, write_report
from nni_plugin.results.trial_command import trial_command
from nni_plugin.study.selection import Pick, PickError


def test_one_row_per_chromosome(write):
    frame = Experiment(write()).frame()
    assert list(frame["uid"]) == [1, 2, 3, 4, 5, 6]
    assert list(frame["front"]) == [True, True, True, False, False, False]
    assert list(frame["feasible"]) == [True, True, True, True, False, False]
    assert frame["accuracy"].isna().tolist() == [False] * 5 + [True]
    assert frame.loc[1, "conv.w_bits"] == 4


def test_nni_database_adds_what_only_nni_knows(write):
    folder = write()
    (folder / "db").mkdir()
    with sqlite3.connect(folder / "db" / "nni.sqlite") as connection:
        connection.execute("CREATE TABLE TrialJobEvent (timestamp, trialJobId, event)")
        connection.executemany(
            "INSERT INTO TrialJobEvent VALUES (?, ?, ?)",
            [(1000, "tr1", "WAITING"), (2000, "tr1", "RUNNING"), (5500, "tr1", "SUCCEEDED")],
        )
        connection.execute("CREATE TABLE ExperimentProfile (params, revision)")
        settings = {
            "trialCommand": "python3 -m nni_plugin.trial --task a:b --device c --network n.json",
            "trialCodeDirectory": "/code",
        }
        connection.execute("INSERT INTO ExperimentProfile VALUES (?, ?)", (json.dumps(settings), 1))
    experiment = Experiment(folder)
    row = experiment.frame().iloc[0]
    assert (row["nni_status"], row["duration_s"]) == ("SUCCEEDED", 3.5)
    command = trial_command(experiment)
    assert (command.task, command.device, str(command.network)) == ("a:b", "c", "/code/n.json")


def test_found_by_id_in_nnis_list_and_by_path(write, tmp_path, monkeypatch):
    folder = write(name="work/abc12345")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    listed = tmp_path / "home" / "nni-experiments" / ".experiment"
    listed.parent.mkdir(parents=True)
    listed.write_text(json.dumps({"abc12345": {"logDir": str(tmp_path / "work")}}))
    for opened in (
        Experiment.open("abc12345"),
        Experiment.open(str(folder)),
        Experiment.open("abc12345", tmp_path / "work"),
    ):
        assert opened.id == "abc12345"


def test_an_experiment_that_is_not_there_lists_those_that_are(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(name="nni-experiments/real1234")
    with pytest.raises(ExperimentError, match=r"no experiment 'nope'.*it holds: real1234"):
        Experiment.open("nope")


def test_a_folder_without_journal_and_an_empty_one(write, tmp_path):
    with pytest.raises(ExperimentError, match="never started"):
        Experiment(tmp_path)
    with pytest.raises(ExperimentError, match="is empty"):
        Experiment(write([]))


def test_why_there_is_no_front(write, events):
    with pytest.raises(NoFrontError, match=r"no finished trial yet \(0 running"):
        Experiment(write(events[:1])).history()
    with pytest.raises(NoFrontError, match=r"only failed trials \(1\); the last reason: exit code"):
        Experiment(write([events[0], *events[-2:]])).history()
    with pytest.raises(NoFrontError, match=r"none of the 1 finished.*ram_kb <= 64"):
        Experiment(write([events[0], *events[9:11]])).history()
    other = {**events[0], "objectives": {"f1": "maximize"}}
    with pytest.raises(NoFrontError, match=r"reports f1 of the objectives; reported are: accuracy"):
        Experiment(write([other, *events[1:]])).history()


def test_a_metric_missing_from_older_trials_is_no_obstacle(write, events):
    for event in events[1:5]:
        if event["event"] == "tell":
            del event["metrics"]["ram_kb"]
    experiment = Experiment(write(events))
    # Whether they keep the limit on RAM is unknown, so they are not called feasible.
    assert [t.uid for t in experiment.front()] == [3]
    assert experiment.frame()["ram_kb"].isna().sum() == 3


def test_report_files(write, tmp_path):
    experiment = Experiment(write())
    paths = write_report(experiment, tmp_path / "out")
    assert set(paths) == {"trials", "front", "png", "html"}
    with paths["front"].open() as stream:
        assert [row["uid"] for row in csv.DictReader(stream)] == ["3", "2", "1"]
    assert len(pd.read_csv(paths["trials"])) == 6
    assert paths["png"].read_bytes().startswith(b"\x89PNG")
    html = paths["html"].read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", html)
    assert "joint-ga-data" in html
    points = chosen_points(experiment)
    assert {name: t.uid for name, t in points.items()} == {
        "knee": 2,
        "highest accuracy": 1,
        "lowest size_kb": 3,
    }


def test_report_without_a_front_still_writes_the_trials(write, events, tmp_path):
    experiment = Experiment(write([events[0], *events[-2:]]))
    assert set(write_report(experiment, tmp_path / "out")) == {"trials", "html"}


def test_text_in_a_journal_cannot_leave_the_script_element(write, events, tmp_path):
    events[-1]["reason"] = "</script><script>alert(1)</script>"
    paths = write_report(Experiment(write(events)), tmp_path / "out")
    assert "</script><script>alert" not in paths["html"].read_text()


def test_compare_uses_one_box(write, events):
    first = Experiment(write())
    second = Experiment(write(events[:5], name="exp2"))
    comparison = compare([first, second])
    table = comparison.table.set_index("experiment")
    assert table.loc["exp1", "hypervolume"] > table.loc["exp2", "hypervolume"] > 0
    assert table.loc["exp2", "best size_kb"] == 20.0
    with pytest.raises(ValueError, match="at least two"):
        compare([first])
    hopeless = Experiment(write(events[:1] + events[9:11], name="exp3"))
    with pytest.raises(NoFrontError, match="exp3 has no feasible trial"):
        compare([first, hopeless])


def test_front_table_names_the_references(write):
    from rich.console import Console

    experiment = Experiment(write())
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(front_table(experiment.log, experiment.history()))
    text = console.export_text()
    assert re.search(r"baseline +│ +│ +│ +0.97", text)
    assert re.search(r"uniform int8 +│ 1 ", text)
    assert re.search(r"knee +│ 2 .*50%", text)


def test_a_front_table_that_leaves_rows_out_says_so(write, events):
    points = [
        {"event": kind, "uid": 100 + i, "params": {}, "time": 9.0,
         "metrics": {"accuracy": 0.5 + i / 100, "size_kb": 5.0 + i / 10, "ram_kb": 9.0}}
        for i in range(20) for kind in ("ask", "tell")
    ]  # fmt: skip
    experiment = Experiment(write([*events, *points]))
    front = len(experiment.history().front)
    table = front_table(experiment.log, experiment.history(), references=False)
    assert front > 14
    assert str(table.title).endswith(f"Pareto front: {front} of 25 trials, 14 shown")
    assert table.row_count == 14


def test_pick(write):
    trials = Experiment(write()).log.finished()
    assert Pick.parse("accuracy >= 0.90, min size_kb, ram_kb<=64").choose(trials).uid == 2
    assert Pick.parse("max accuracy").choose(trials).uid == 5
    with pytest.raises(PickError, match=r"closest is trial tr5 \(uid 5\) with accuracy=0.96"):
        Pick.parse("accuracy > 0.99, min size_kb").choose(trials)
    with pytest.raises(PickError, match=r"no trial reports speed \(reported: accuracy"):
        Pick.parse("min speed").choose(trials)
    with pytest.raises(PickError, match=r"reports size \(did you mean 'size_kb'\?\)"):
        Pick.parse("min size").choose(trials)


@pytest.mark.parametrize("text", ["", "accuracy >= 0.9", "min a, max b", "about 3, min a", ">= 3"])
def test_a_pick_that_cannot_be_read(text):
    with pytest.raises(PickError, match="--pick"):
        Pick.parse(text)


def test_trial_by_id_or_uid(write):
    experiment = Experiment(write())
    assert experiment.trial("tr3").uid == experiment.trial("3").uid == 3
    with pytest.raises(ExperimentError, match="no trial 'tr9'"):
        experiment.trial("tr9")


def test_a_trial_of_unknown_parameters_is_counted_but_never_handed_out(write, events):
    del events[3]  # the line that asked for uid 2
    experiment = Experiment(write(events))
    frame = experiment.frame().set_index("uid")
    assert frame.loc[2, "status"] == "failed"
    assert "parameters are unknown" in frame.loc[2, "reason"]
    assert 2 not in [trial.uid for trial in experiment.front()]
    for name in ("2", "tr2"):
        with pytest.raises(ExperimentError, match=r"can't be used.*damaged"):
            experiment.trial(name)
    with pytest.raises(ExperimentError, match="no trial 'tr77'"):
        experiment.trial("tr77")
