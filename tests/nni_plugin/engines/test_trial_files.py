"""The files between a trial and its engine, written by NNI's own package and read here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nni_plugin.engines.engine import Ended, Final, Job, Note, Reported
from nni_plugin.engines.messages import Lines, dump_event, dump_job, load_event, load_job
from nni_plugin.engines.trial_files import MetricsFile, final_result, lay_out, trial_environment

JOB = Job("t7", 3, {"x": 0.5, "nested": {"_name": "a", "b": 1}, "uid": 7})


@pytest.mark.slow
def test_nni_reads_and_writes_them(tmp_path: Path) -> None:
    lay_out(tmp_path / "t7", JOB)
    code = """
import json, nni, numpy
params = nni.get_next_parameter()
nni.report_intermediate_result(0.25)
nni.report_intermediate_result({"default": 0.5, "name": "caf\\u00e9"})
nni.report_final_result({"params": params, "trial": nni.get_trial_id(),
                         "number": nni.get_sequence_id(), "nan": float("nan")})
"""
    own = trial_environment(tmp_path / "t7", JOB, "experiment", tmp_path)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **own}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    first, second, final = MetricsFile(tmp_path / "t7", "t7").read()
    assert first == Reported("t7", 0.25)
    assert second == Reported("t7", {"default": 0.5, "name": "café"})
    assert isinstance(final, Final)
    told = final.value
    assert isinstance(told, dict)
    assert told["params"] == JOB.params
    assert (told["trial"], told["number"]) == ("t7", 3)
    assert str(told["nan"]) == "nan"


def frame(kind: str, value: object) -> bytes:
    data = json.dumps({"type": kind, "value": json.dumps(value)}).encode() + b"\n"
    return b"ME%06d%b" % (len(data), data)


def test_a_report_counts_once_it_is_whole(tmp_path: Path) -> None:
    lay_out(tmp_path / "t7", JOB)
    file = MetricsFile(tmp_path / "t7", "t7")
    written = frame("PERIODICAL", 1.5) + frame("FINAL", {"a": 2})
    found = []
    with (tmp_path / "t7" / ".nni" / "metrics").open("ab", buffering=0) as stream:
        for start in range(0, len(written), 7):
            stream.write(written[start : start + 7])
            found += file.read()
    assert found == [Reported("t7", 1.5), Final("t7", {"a": 2})]
    assert file.read() == []
    assert final_result(tmp_path / "t7", "t7") == {"a": 2}


@pytest.mark.parametrize("junk", [b"", b"ME", b"ME999999{}", b"ME000003abc", b"\xff" * 50])
def test_what_is_no_report_is_none(tmp_path: Path, junk: bytes) -> None:
    lay_out(tmp_path / "t7", JOB)
    (tmp_path / "t7" / ".nni" / "metrics").write_bytes(junk)
    assert MetricsFile(tmp_path / "t7", "t7").read() == []
    assert final_result(tmp_path / "nowhere", "t7") is None


def test_messages_come_through_a_pipe_in_any_pieces() -> None:
    events = [Reported("t1", 1.0), Final("t1", {"a": None}), Note("é"), Ended("t1", "x", True, "n")]
    text = b"".join(json.dumps(dump_event(event)).encode() + b"\n" for event in events)
    text = b"a library prints\n" + text
    lines = Lines()
    told = [one for at in range(len(text)) for one in lines.feed(text[at : at + 1])]
    assert [load_event(one) for one in told] == events
    assert load_job(json.loads(json.dumps(dump_job(JOB)))) == JOB
