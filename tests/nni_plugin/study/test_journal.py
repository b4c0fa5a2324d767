from __future__ import annotations

import json
from pathlib import Path

import pytest

from nni_plugin.study.journal import Journal, read, results


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "journal.jsonl") as journal:
        journal.append("ask", uid=1, params={"a": 0.5}, costs=None, origin="lhs")
        journal.append("tell", uid=1, metrics={"default": 1}, trial="abc")
    events = read(tmp_path / "deep" / "journal.jsonl")
    assert [e["event"] for e in events] == ["ask", "tell"]
    assert events[0]["time"] <= events[1]["time"]
    (record,) = results(events)
    assert (record.status, record.metrics, record.trial) == ("complete", {"default": 1}, "abc")


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


def test_records_stand_in_order_of_completion_and_running_ones_last() -> None:
    def ask(uid: int) -> dict[str, object]:
        return {"event": "ask", "uid": uid, "params": {"x": uid}, "origin": "ga"}

    events = [
        {"event": "start"},
        *map(ask, (1, 2, 3, 4)),
        {"event": "tell", "uid": 3, "metrics": {"default": 3}},
        {"event": "fail", "uid": 1, "reason": "crashed"},
        {"event": "import", "uid": 9, "params": {"x": 9}, "metrics": {"default": 9}},
        {"event": "ask", "uid": 2, "params": {"x": 2}},
        {"event": "tell", "uid": 2, "metrics": {"default": 2}},
        {"event": "tell", "uid": 1, "metrics": {"default": 1}},
        {"event": "tell", "uid": 3, "metrics": {"default": 99}},
        {"event": "tell", "uid": 77, "metrics": {"default": 99}},
    ]
    records = results(json.loads(json.dumps(events)))
    assert [r.uid for r in records] == [3, 9, 2, 1, 4]
    assert [r.status for r in records] == ["complete"] * 4 + ["running"]
    assert records[0].metrics == {"default": 3}, "the first of two results stands"
    assert records[3].reason == "", "a result replaces a failure"
