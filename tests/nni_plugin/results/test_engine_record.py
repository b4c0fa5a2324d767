"""What an experiment without NNI's manager keeps of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from nni_plugin.results.engine_record import EngineRecord, JobRecord, JobRecords


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    assert EngineRecord.read(tmp_path) is None
    record = EngineRecord("ray", {"trialCommand": "x", "tuner": {"name": "JointGA"}}, True, "a:1")
    record.write(tmp_path)
    assert EngineRecord.read(tmp_path) == record


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"engine": "local", "what": 1}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "engine.json").write_text(text)
    with pytest.raises(ValueError, match=r"engine\.json can't be read"):
        EngineRecord.read(tmp_path)


def test_a_line_that_was_cut_off_hides_no_other(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    first = JobRecord("t1", 1, "SUCCEEDED", 1.0, 2.0)
    records.note(first)
    records.close()
    with (tmp_path / "jobs.jsonl").open("a") as stream:
        stream.write('{"job": "t2", "ui\n')
    records = JobRecords(tmp_path)
    second = JobRecord("t3", 3, "FAILED", 2.0, 3.0, "node")
    records.note(second)
    records.close()
    assert list(JobRecords.read(tmp_path)) == [first, second]
