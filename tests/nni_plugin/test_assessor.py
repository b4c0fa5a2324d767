"""The assessor beside the tuner, in one process as in NNI's dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from nni.assessor import AssessResult

from ga.early_stopping.gain_bands import Seen
from ga.early_stopping.policies import Promise
from nni_plugin import JointGATuner, ParetoAssessor
from nni_plugin.study.journal import read
from nni_plugin.study.trial_log import TrialLog

SPACE = {name: {"_type": "uniform", "_value": [0.0, 1.0]} for name in "ab"}


class Process:
    """Tuner and assessor with trials that report three times."""

    def __init__(self, folder: Path, **class_args: Any) -> None:
        self.folder = folder
        self.tuner = JointGATuner(objectives={"gain": "maximize", "size": "minimize"})
        self.tuner.grace_failed = self.tuner.grace_succeeded = 0.05
        self.assessor = ParetoAssessor(**class_args)
        self.tuner.update_search_space(SPACE)
        self.next_id = 0
        self.errors: list[str] = []

    def start(self) -> tuple[int, int]:
        parameter_id = self.next_id
        self.next_id += 1
        (params,) = self.tuner.generate_multiple_parameters([parameter_id])
        return parameter_id, params["uid"]

    def report(self, parameter_id: int, uid: int, *values: float, size: float = 1.0) -> bool:
        history = [{"gain": v, "size": size, "uid": uid} for v in values]
        return bool(self.assessor.assess_trial(f"t{parameter_id}", history) is AssessResult.Good)

    def run_whole(self, final: float, size: float = 1.0) -> int:
        parameter_id, uid = self.start()
        for rung in range(3):
            self.report(
                parameter_id, uid, *[final - 0.1 * (2 - r) for r in range(rung + 1)], size=size
            )
        value = {"gain": final, "size": size, "uid": uid}
        self.tuner.receive_trial_result(parameter_id, "", value)
        self.end(parameter_id, True)
        return uid

    def end(self, parameter_id: int, success: bool) -> None:
        self.assessor.trial_end(f"t{parameter_id}", success)
        self.tuner.trial_end(parameter_id, success)

    @property
    def journal(self) -> list[dict[str, Any]]:
        return read(self.folder / "journal.jsonl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    monkeypatch.setattr("nni_plugin.tuner._running", None)
    return tmp_path


def test_a_stopped_trial_is_censored_and_not_failed(folder: Path) -> None:
    process = Process(folder, risk=0.2, spared=0.0)
    for trial in range(6):
        process.run_whole(0.8 + trial / 100)
    parameter_id, uid = process.start()
    assert not process.report(parameter_id, uid, 0.1)
    assert process.report(parameter_id, uid, 0.1, 0.2), "told once"
    process.end(parameter_id, False)
    (event,) = [e for e in process.journal if e["event"] == "censor"]
    assert event["uid"] == uid
    assert event["rung"] == 1
    assert event["metrics"] == {"gain": 0.1, "size": 1.0}
    assert "front" in event["reason"]
    assert not [e for e in process.journal if e["event"] == "fail"]
    (censored,) = [e for e in process.tuner.study.optimizer.evaluations if e.status == "censored"]
    assert censored.id == uid
    assert uid not in {e.id for e in process.tuner.study.optimizer.front()}
    assert "stopped 1 of 7" in process.assessor.summary()


def test_a_trial_that_ends_before_it_is_killed_keeps_its_result(folder: Path) -> None:
    process = Process(folder, risk=0.2, spared=0.0)
    for trial in range(6):
        process.run_whole(0.8 + trial / 100)
    parameter_id, uid = process.start()
    assert not process.report(parameter_id, uid, 0.1)
    process.tuner.receive_trial_result(parameter_id, "", {"gain": 2.0, "size": 1.0, "uid": uid})
    process.end(parameter_id, True)
    assert TrialLog.read(folder / "journal.jsonl").trials[uid].status == "complete"
    assert [e.id for e in process.tuner.study.optimizer.front()] == [uid]


def test_a_failing_trial_that_was_not_stopped_is_a_failure(folder: Path) -> None:
    process = Process(folder)
    parameter_id, uid = process.start()
    process.report(parameter_id, uid, 0.5)
    process.end(parameter_id, False)
    for timer in list(process.tuner._timers):
        timer.join(5)
    assert [e["uid"] for e in process.journal if e["event"] == "fail"] == [uid]


def test_spared_trials_run_on_and_are_counted(folder: Path) -> None:
    process = Process(folder, risk=0.2, spared=1.0)
    for trial in range(6):
        process.run_whole(0.8 + trial / 100)
    assert process.run_whole(0.1, size=2.0)
    assert "stopped 0 of 7" in process.assessor.summary()
    assert "of 1 that were spared 0 are on the front" in process.assessor.summary()


def test_halving_stops_by_rank(folder: Path) -> None:
    process = Process(folder, policy="halving", eta=2, spared=0.0)
    verdicts = []
    for value in (0.9, 0.1, 0.95, 0.2):
        parameter_id, uid = process.start()
        verdicts.append(process.report(parameter_id, uid, value))
    assert verdicts == [True, False, True, False]


def test_reports_that_cannot_be_compared_never_stop_a_trial(folder: Path) -> None:
    process = Process(folder, policy="halving", eta=2, spared=0.0)
    for _ in range(3):
        process.run_whole(0.9)
    parameter_id, uid = process.start()
    for history in ([0.1], [{"gain": 0.1, "size": 9}], [{"gain": 0.1, "uid": uid}]):
        assert process.assessor.assess_trial(f"t{parameter_id}", history) is AssessResult.Good
    mixed = [{"gain": 0.1, "size": 9, "uid": uid}, {"gain": 0.1, "size": 9, "uid": 1}]
    assert process.assessor.assess_trial("other", mixed) is AssessResult.Good


def test_what_was_seen_and_stopped_outlives_a_restart(folder: Path) -> None:
    first = Process(folder, risk=0.2, spared=0.0)
    for trial in range(6):
        first.run_whole(0.8 + trial / 100)
    parameter_id, uid = first.start()
    assert not first.report(parameter_id, uid, 0.1)
    first.end(parameter_id, False)

    second = Process(folder, risk=0.2, spared=0.0)
    second.next_id = 20
    second.assessor.load_checkpoint()
    assert "stopped 1 of 7" in second.assessor.summary()
    parameter_id, uid = second.start()
    assert not second.report(parameter_id, uid, 0.1), "the band is there from the start"


def test_a_chromosome_that_is_asked_again_starts_at_its_first_rung(folder: Path) -> None:
    first = Process(folder, risk=0.2, spared=0.0)
    for trial in range(6):
        first.run_whole(0.8 + trial / 100)
    parameter_id, uid = first.start()
    assert first.report(parameter_id, uid, 0.75, 0.8)

    second = Process(folder, risk=0.2, spared=0.0)
    second.next_id = 20
    second.assessor.load_checkpoint()
    parameter_id, again = second.start()
    assert again == uid
    assert not second.report(parameter_id, uid, 0.1), "judged by its new report, not by the old"
    (stop,) = [e for e in read(folder / "rungs.jsonl") if e["event"] == "stop"]
    assert stop["rung"] == 1


def test_without_the_tuner_it_says_so(folder: Path) -> None:
    assessor = ParetoAssessor()
    with pytest.raises(RuntimeError, match="JointGATuner"):
        assessor.assess_trial("t", [{"gain": 1}])


@pytest.mark.parametrize(
    ("class_args", "error", "words"),
    [
        ({"policy": "luck"}, ValueError, ["'luck'", "gain, halving"]),
        ({"risk": 2}, ValueError, ["risk=2"]),
        ({"spared": "few"}, ValueError, ["spared='few'"]),
        ({"eta": 3}, TypeError, ["eta", "risk"]),
        ({"policy": "halving", "eta": 1}, ValueError, ["eta=1"]),
        ({"policy": "promise", "risk": 0.1}, TypeError, ["promise", "allowed: policy, spared)"]),
    ],
)
def test_wrong_arguments(
    class_args: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as raised:
        ParetoAssessor(**class_args)
    for word in words:
        assert word in str(raised.value)


class Eager(Promise):
    """Stops every trial at its first report, and has the first of them run again."""

    def reason(self, uid: int, seen: Seen) -> str | None:
        return "eager"

    def again(self, stopped: Sequence[int], seen: Seen, *, new: bool) -> int | None:
        return stopped[0] if stopped else None


class Late(Eager):
    """Has stopped trials run again only when there is no new candidate."""

    def again(self, stopped: Sequence[int], seen: Seen, *, new: bool) -> int | None:
        return None if new else super().again(stopped, seen, new=new)


def test_a_stopped_trial_runs_again_to_its_end(folder: Path) -> None:
    process = Process(folder, policy="promise")
    parameter_id, uid = process.start()
    process.assessor.policy = Eager()
    assert not process.report(parameter_id, uid, 0.1)
    _, other = process.start()
    assert other != uid, "its trial has not ended yet"
    process.end(parameter_id, False)
    assert process.tuner.study.trials[uid].status == "censored"

    parameter_id, again = process.start()
    assert again == uid
    assert process.tuner.study.trials[uid].status == "running"
    assert process.report(parameter_id, uid, 0.1)
    assert process.report(parameter_id, uid, 0.1, 0.2)
    value = {"gain": 0.3, "size": 1.0, "uid": uid}
    process.tuner.receive_trial_result(parameter_id, "", value)
    process.end(parameter_id, True)
    assert [e["event"] for e in process.journal if e.get("uid") == uid] == [
        "ask",
        "censor",
        "again",
        "tell",
    ]
    assert TrialLog.read(folder / "journal.jsonl").trials[uid].status == "complete"
    assert "1 of the stopped ones ran to their ends after all" in process.assessor.summary()
    _, next_one = process.start()
    assert next_one not in (uid, other)


def test_a_trial_that_runs_again_is_running_after_a_restart(folder: Path) -> None:
    first = Process(folder, policy="promise")
    parameter_id, uid = first.start()
    first.assessor.policy = Eager()
    assert not first.report(parameter_id, uid, 0.1)
    first.end(parameter_id, False)
    assert first.start()[1] == uid

    second = Process(folder, policy="promise")
    second.next_id = 20
    second.assessor.load_checkpoint()
    assert second.tuner.study.trials[uid].status == "running"
    parameter_id, again = second.start()
    assert again == uid
    assert second.report(parameter_id, uid, 0.1), "not stopped a second time"


def test_all_stopped_trials_may_run_again_in_an_exhausted_space(folder: Path) -> None:
    """One after the other, though none is pending when the next one is asked for."""
    process = Process(folder, policy="promise")
    process.tuner.update_search_space({"a": {"_type": "choice", "_value": [0.0, 0.5, 1.0]}})
    process.assessor.policy = Late()
    stopped = []
    for _ in range(3):
        parameter_id, uid = process.start()
        assert not process.report(parameter_id, uid, 0.1)
        process.end(parameter_id, False)
        stopped.append(uid)
    for uid in stopped:
        parameter_id, again = process.start()
        assert again == uid
        process.report(parameter_id, uid, 0.1)
        value = {"gain": 0.3, "size": 1.0, "uid": uid}
        process.tuner.receive_trial_result(parameter_id, "", value)
        process.end(parameter_id, True)
    assert process.tuner.generate_multiple_parameters([99]) == []


def test_promise_stops_what_its_report_makes_hopeless(folder: Path) -> None:
    process = Process(folder, policy="promise")

    def final(uid: int) -> float:
        params = process.tuner.study.trials[uid].params
        return float(params["a"] - 0.3 * params["b"] ** 2)

    for _ in range(16):
        parameter_id, uid = process.start()
        end, size = final(uid), process.tuner.study.trials[uid].params["a"]
        for rung in range(3):
            reports = [end - 0.1 * (2 - r) for r in range(rung + 1)]
            process.report(parameter_id, uid, *reports, size=size)
        process.tuner.receive_trial_result(
            parameter_id, "", {"gain": end, "size": size, "uid": uid}
        )
        process.end(parameter_id, True)
    parameter_id, uid = process.start()
    size = process.tuner.study.trials[uid].params["a"]
    assert not process.report(parameter_id, uid, final(uid) - 1.0, size=size)
    process.end(parameter_id, False)
    (event,) = [e for e in process.journal if e["event"] == "censor"]
    assert "of what pays for a whole one" in event["reason"]
    assert event["expected"]["gain"] < final(uid)
    rungs = [e for e in read(folder / "rungs.jsonl") if e["event"] == "rung"]
    assert all(e["seconds"] >= 0 for e in rungs)
