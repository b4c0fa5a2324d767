"""The assessor and what no policy can use: reports, damaged lines, errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from nni.assessor import AssessResult

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.policy import SearchState
from ga.early_stopping.reservation_value import ReservationValue
from nni_plugin.study.journal import read
from support.assessor_process import Process, as_experiment

HALVING = {"policy": "successive_halving", "eta": 2}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return as_experiment(tmp_path, monkeypatch)


# Whatever a trial may report on its way; its own uid goes into the dicts.
REPORTS: list[Any] = [
    {"gain": math.nan, "size": 1.0},
    {"gain": math.inf, "size": 1.0},
    {"gain": 10**400, "size": 1.0},
    {"gain": 0.5, "size": 1.0, "loss": math.nan, "steps": -(10**400), "note": {"a": [1]}},
    {"gain": "high", "size": {"a": {}}},
    {"gain": None},
    {},
    {"uid": [1], "gain": 1},
    "text",
    None,
    [0.1, 0.2],
    10**400,
    math.nan,
]


@pytest.mark.parametrize("policy", ["reservation_value", "successive_halving", "gain"])
@pytest.mark.parametrize("bad", REPORTS, ids=lambda bad: str(bad)[:30])
def test_no_report_on_the_way_ends_the_search(folder: Path, policy: str, bad: Any) -> None:
    process = Process(folder, policy=policy, spared=0.0)
    process.run_whole(0.8)
    parameter_id, uid = process.start()
    first = {"gain": 0.7, "size": 1.0, "uid": uid}
    report = {"uid": uid, **bad} if isinstance(bad, dict) else bad
    for history in ([report], [first, report], [first, report, first]):
        verdict = process.assessor.assess_trial(f"t{parameter_id}", history)
        assert verdict is AssessResult.Good
    process.tuner.receive_trial_result(parameter_id, "", {**first, "gain": 0.9})
    process.end(parameter_id, True)
    assert process.run_whole(0.9)
    assert process.tuner.study.trials[uid].status == "complete"
    assert "error" not in {event.get("reason") for event in process.journal}
    for event in read(folder / "rungs.jsonl"):
        assert all(math.isfinite(x) for x in event.get("metrics", {}).values())


def test_damaged_lines_of_a_former_run_are_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Process(folder, **HALVING, spared=0.0)
    for trial in range(6):
        first.run_whole(0.8 + trial / 100)
    first.report(*first.start(), 0.1)
    lines = [
        {"event": "rung", "uid": 1},
        {"event": "rung", "uid": [1], "metrics": {}, "trial": "t"},
        {"event": "rung", "uid": 1, "metrics": {"gain": 1}, "trial": "t0", "seconds": "x"},
        {"event": "rung", "uid": 1, "metrics": {"gain": 10**400, "size": 1}, "trial": "t0"},
        {"event": "rung", "uid": 900, "metrics": {"gain": 1, "size": 1}, "trial": None},
        {"event": "stop", "uid": 1, "rung": None},
        {"event": "stop", "uid": 900, "rung": 1},
        {"event": "stop"},
        {"event": "spare", "uid": {}},
        {"event": "else", "uid": 1},
    ]
    rungs = folder / "rungs.jsonl"
    assert rungs.stat().st_mode & 0o777 == 0o600
    number = len(rungs.read_bytes().splitlines())
    with rungs.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.write('{"event": "rung", "uid": 1, "met\n')
    second = Process(folder, **HALVING, spared=0.0)
    second.assessor.load_checkpoint()
    second.next_id = 10
    for _ in range(3):
        second.run_whole(0.9)
    assert "stopped 2 of" in second.assessor.summary()
    assert f"{rungs}, line {number + 1} is left out: it makes no sense" in caplog.text
    assert f"{rungs}, line {number + len(lines) + 1} is left out: it is no JSON" in caplog.text
    assert "error" not in {event.get("reason") for event in second.journal}


def test_an_error_of_the_assessor_stands_in_the_journal(folder: Path) -> None:
    class Broken(ReservationValue):
        def decide(self, number: int, state: SearchState) -> StopDecision | None:
            raise ZeroDivisionError("no policy")

    process = Process(folder)
    process.assessor.policy = Broken()
    parameter_id, uid = process.start()
    with pytest.raises(ZeroDivisionError):
        process.report(parameter_id, uid, 0.5)
    process.tuner._on_exit()
    process.assessor._on_exit()
    end = [event for event in process.journal if event["event"] == "end"]
    assert [event["reason"] for event in end] == ["error"]
    assert "no policy" in end[0]["message"]
