from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ga.early_stopping.decision import StopDecision
from ga.evaluation import COMPLETE, FAILED, GREEDY, IMPORTED, RUNNING
from nni_plugin.study.journal import VERSION, Journal, JournalInUseError, read
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.tuner_args import TunerArgs
from support.paths import REPOSITORY

DATA = REPOSITORY / "tests" / "data" / "92e111d"
OLD = DATA / "journal.jsonl"
"""Written by commit 92e111d: every event, a result after a failure, a chromosome that ran again, a
change of the space, an import, a kill -9 in the middle of a line (twice), and garbage."""


def log_of(*events: dict[str, Any]) -> TrialLog:
    log = TrialLog("nowhere.jsonl")
    for event in events:
        log.apply(json.loads(json.dumps(event)))
    return log


def ask(uid: int, **fields: Any) -> dict[str, Any]:
    return {"event": "ask", "uid": uid, "params": {"x": uid}, "origin": "ga", **fields}


def tell(uid: int, value: float) -> dict[str, Any]:
    return {"event": "tell", "uid": uid, "metrics": {"default": value}}


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "journal.jsonl") as journal:
        journal.append("ask", uid=1, params={"a": 0.5}, costs=None, origin="lhs")
        journal.append("tell", uid=1, metrics={"default": 1}, trial="abc")
    events = read(tmp_path / "deep" / "journal.jsonl")
    assert [e["event"] for e in events] == ["ask", "tell"]
    assert events[0]["time"] <= events[1]["time"]
    (trial,) = TrialLog.read(tmp_path / "deep" / "journal.jsonl").trials.values()
    assert (trial.status, trial.metrics, trial.job_id) == (COMPLETE, {"default": 1}, "abc")


def test_absent_file_is_an_empty_journal(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
def test_half_a_last_line_is_ignored_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("ask", uid=1, params={}, costs=None, origin="lhs")
        journal.append("tell", uid=1, metrics={"default": 1.0}, trial=None)
    path.write_bytes(path.read_bytes()[:-cut])
    kept = 1 if cut > 1 else 2  # without its newline the last line is still whole
    assert len(read(path)) == kept
    with Journal(path) as journal:
        journal.append("fail", uid=1, reason="killed", trial=None)
    assert [e["event"] for e in read(path)][-1] == "fail"
    assert len(read(path)) == kept + 1


def test_nan_is_refused_rather_than_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(ValueError, match="JSON"):
        journal.append("tell", uid=1, metrics={"default": float("nan")})
    assert read(tmp_path / "journal.jsonl") == []


def test_trials_stand_in_order_of_completion_and_running_ones_apart() -> None:
    log = log_of(
        {"event": "start"},
        *map(ask, (1, 2, 3, 4)),
        tell(3, 3),
        {"event": "fail", "uid": 1, "reason": "crashed"},
        {"event": "import", "uid": 9, "params": {"x": 9}, "metrics": {"default": 9}},
        ask(2),
        tell(2, 2),
        tell(1, 1),
        tell(3, 99),
    )
    assert [t.uid for t in log.finished()] == [3, 9, 2, 1]
    assert [t.uid for t in log.running()] == [4]
    assert list(log.trials) == [1, 2, 3, 4, 9], "in the order they were first mentioned"
    assert {t.status for t in log.finished()} == {COMPLETE}
    assert log.trials[3].metrics == {"default": 3}, "the first of two results stands"
    assert log.trials[1].reason == "", "a result replaces a failure"
    assert (log.trials[9].origin, log.trials[9].asked) == (IMPORTED, None)


def test_a_result_without_its_ask_is_kept_but_never_shown_as_a_candidate() -> None:
    log = log_of(
        ask(1),
        tell(1, 1),
        tell(77, 99),
        {"event": "again", "uid": 77},
        {"event": "again", "uid": 5},
    )
    lost = log.trials[77]
    assert (lost.status, lost.metrics, lost.lost) == (FAILED, {"default": 99}, True)
    assert "parameters are unknown" in lost.reason
    assert [t.uid for t in log.finished(COMPLETE)] == [1]
    assert log.running() == [], "nothing runs without parameters"


def test_a_search_goes_on_after_a_damaged_line_and_gives_no_number_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    space = {"x": {"_type": "choice", "_value": list(range(9))}}
    args = TunerArgs.parse({}, base=[tmp_path])
    study = Study(args, space, path)
    first, second = study.ask().uid, study.ask().uid
    study.tell(first, 0.5)
    study.tell(second, 0.9)
    study.close()
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:25]
    path.write_text("\n".join(lines) + "\n")

    study = Study(args, space, path)
    assert [e.id for e in study.optimizer.front()] == [first], "the better one is of nobody knows"
    assert study.ask().uid == second + 1
    study.tell(second, 0.9)
    assert study.trials[second].lost
    assert [e.id for e in study.optimizer.front()] == [first]
    study.close()


def test_what_runs_again_has_no_result_but_an_expectation() -> None:
    stop = {
        "event": "censor", "uid": 1, "metrics": {"default": 0.2}, "rung": 1, "reason": "hopeless",
        "expected": {"default": 0.5}, "time": 7.0,
    }  # fmt: skip
    log = log_of(ask(1, time=5.0), stop, {"event": "again", "uid": 1, "time": 8.0})
    trial = log.trials[1]
    assert (trial.status, trial.metrics, trial.reason) == (RUNNING, {}, "")
    assert (trial.expected, trial.asked, trial.finished) == ({"default": 0.5}, 5.0, None)
    log.apply(tell(1, 0.6))
    assert (trial.status, trial.metrics, trial.expected) == (COMPLETE, {"default": 0.6}, None)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "ask"},
        {"event": "ask", "uid": "1", "params": {}},
        {"event": "ask", "uid": True, "params": {}},
        {"event": "ask", "uid": 1, "params": [1]},
        {"event": "tell", "metrics": {"default": 1}},
        {"event": "dance", "uid": 1},
        {"event": None},
    ],
)
def test_events_that_make_no_sense_are_skipped(event: dict[str, Any]) -> None:
    assert log_of(event).trials == {}


def test_old_spellings_of_an_origin_are_read() -> None:
    log = log_of(ask(1, origin="imported"), ask(2, origin="import"), ask(3, origin="ladder"))
    assert [t.origin for t in log.trials.values()] == [IMPORTED, IMPORTED, GREEDY]


def test_a_last_line_without_its_newline_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(ask(1)) + "\n" + json.dumps(tell(1, 2)))
    log = TrialLog(path)
    assert [t.uid for t in log.refresh()] == [1]
    with path.open("a") as file:
        file.write("\n" + json.dumps(ask(2)) + "\n" + json.dumps(tell(2, 3))[:20])
    assert log.refresh() == []
    with path.open("a") as file:
        file.write(json.dumps(tell(2, 3))[20:] + "\n")
    assert [t.uid for t in log.refresh()] == [2]


# ---- a journal of before the move into rooms


def test_an_old_journal_tells_what_its_own_reader_told() -> None:
    log = TrialLog.read(OLD)
    expected = json.loads((DATA / "trials.json").read_text())
    trials = [
        {name: getattr(trial, name) for name in expected[0]}
        for trial in log.finished() + log.running()
    ]
    assert trials == expected
    assert log.space["fc.w_bits"] == {"_type": "choice", "_value": [4, 8]}, "the changed one"
    assert not any(trial.lost for trial in log.trials.values())


def test_an_old_journal_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(OLD.read_bytes())
    before = TrialLog.read(OLD)
    args = TunerArgs.parse(before.class_args, base=[tmp_path])
    study = Study(args, dict(before.space), path, before.class_args)
    assert [e.id for e in study.optimizer.evaluations] == [t.uid for t in before.finished()]
    assert {t.uid for t in study.running()} == {t.uid for t in before.running()}
    new = study.ask()
    assert new.uid == max(before.trials) + 1
    study.tell(new.uid, {"accuracy": 0.5, "size_kb": 1.0, "ram_kb": 2.0}, "late")
    study.close()
    after = TrialLog.read(path)
    assert after.trials[new.uid].status == COMPLETE
    assert len(after.trials) == len(before.trials) + 1


def test_what_a_study_holds_is_what_a_later_start_reads(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    args = TunerArgs.parse({"objectives": {"gain": "maximize"}}, base=[tmp_path])
    study = Study(args, {"x": {"_type": "choice", "_value": list(range(9))}}, path)
    first, second, third, fourth = (study.ask().uid for _ in range(4))
    study.censor(second, StopDecision({"gain": 0.1}, 1, "hopeless", {"gain": 0.3}))
    study.fail(third, "crashed", "t3")
    study.tell(first, {"gain": 1, "note": "kept out"}, "t1")
    study.censor(fourth, StopDecision({"gain": 0.2}, 2, "hopeless"))
    study.tell(third, 2.0, "t3")
    study.take_in({"x": 8}, {"gain": 3.0})
    study.reopen(second)
    study.end("stopped")
    study.close()
    log = TrialLog.read(path)
    assert log.trials == study.trials
    assert log.finished() == study.finished()
    assert log.running() == study.running()
    assert log.ended == study.log.ended == "stopped"


def test_what_the_old_owner_still_writes_is_not_missed(tmp_path: Path) -> None:
    """A resumed tuner waits for the one before it, which may get a result in the meantime."""
    path = tmp_path / "journal.jsonl"
    space = {"x": {"_type": "choice", "_value": [1, 2, 3, 4]}}
    args = TunerArgs.parse({"optimize_mode": "maximize"}, base=[tmp_path])
    first = Study(args, space, path)
    candidate = first.ask()
    with ThreadPoolExecutor() as pool:
        second = pool.submit(Study, args, space, path)
        time.sleep(0.5)
        assert not second.done()
        first.tell(candidate.uid, 7.0, "t1")
        first.close()
        resumed = second.result(timeout=30)
    assert resumed.trials[candidate.uid].metrics == {"default": 7.0}
    assert [evaluation.id for evaluation in resumed.optimizer.front()] == [candidate.uid]
    resumed.close()


def test_a_study_that_cannot_start_leaves_the_journal_to_another(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    args = TunerArgs.parse({"optimize_mode": "maximize"}, base=[tmp_path])
    with pytest.raises(ValueError, match="nosuch"):
        Study(args, {"x": {"_type": "nosuch", "_value": [1]}}, path)
    Journal(path, patience_s=0).close()


HOLD = """
import sys, time
from nni_plugin.study.journal import Journal
journal = Journal(sys.argv[1])
journal.append("start")
print("held", flush=True)
time.sleep(600)
"""


def test_a_journal_has_one_owner_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        try:
            with pytest.raises(JournalInUseError, match=r"journal\.jsonl is being written by"):
                Journal(path, patience_s=0.3)
        finally:
            owner.kill()
    with Journal(path, patience_s=0.3) as journal:
        journal.append("end", reason="stopped")
    assert [event["event"] for event in read(path)] == ["start", "end"]


def test_a_journal_is_private(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("")
    path.chmod(0o644)
    Journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    new = tmp_path / "search" / "journal.jsonl"
    Journal(new).close()
    assert [p.stat().st_mode & 0o777 for p in (new, new.parent)] == [0o600, 0o700]
    # A folder that was there is its owner's to open.
    tmp_path.chmod(0o755)
    Journal(path).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_journal_of_a_newer_version_is_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({"event": "start", "version": VERSION + 1}) + "\n")
    with pytest.raises(ValueError, match=r"journal\.jsonl has version 3 .*reads up to 2"):
        TrialLog.read(path)


def test_a_line_that_is_nested_too_deep_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("[" * 200_000 + "\n" + json.dumps({"event": "end", "reason": "x"}) + "\n")
    assert TrialLog.read(path).ended == "x"


def test_a_damaged_line_is_named_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    lines = [
        json.dumps({"event": "start", "version": VERSION}),
        '{"event": "ask", "uid": 1, "par',
        json.dumps({"event": "ask", "uid": [2], "params": {}}),
        json.dumps({"event": "ask", "uid": 3, "params": None}),
        json.dumps(ask(4)),
        json.dumps({"event": "tell", "uid": 4, "metrics": {"gain": 1.0}}),
    ]
    path.write_text("\n".join(lines) + "\n")
    log = TrialLog.read(path)
    assert {uid: trial.status for uid, trial in log.trials.items()} == {4: COMPLETE}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert f"{path}, line 2 is left out: it is no JSON object" in said[0]
    assert "line 3 is left out: its uid is [2]" in said[1]
    assert "line 4 is left out: the params of uid 3 are None" in said[2]
    with path.open("a") as stream:
        stream.write("garbage\n")
    log.refresh()
    assert "line 7" in caplog.records[-1].getMessage()
