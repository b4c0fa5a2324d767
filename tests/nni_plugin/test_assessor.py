"""The assessor beside the tuner, in one process as in NNI's dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from nni.assessor import AssessResult

from ga.early_stopping.decision import StopDecision
from ga.early_stopping.policy import Policy, SearchState
from ga.early_stopping.reservation_value import ReservationValue
from ga.early_stopping.successive_halving import SuccessiveHalving
from nni_plugin import ParetoAssessor
from nni_plugin.assessor import parse, retired
from nni_plugin.study.journal import read
from nni_plugin.study.trial_log import TrialLog
from support.assessor_process import Process, as_experiment

HALVING = {"policy": "successive_halving", "eta": 2}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return as_experiment(tmp_path, monkeypatch)


def test_a_stopped_trial_is_censored_and_not_failed(folder: Path) -> None:
    process = Process(folder, **HALVING, spared=0.0)
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
    assert event["reason"] == "not among the best 4 of 7 at rung 1"
    assert not [e for e in process.journal if e["event"] == "fail"]
    (censored,) = [e for e in process.tuner.study.optimizer.evaluations if e.status == "censored"]
    assert censored.id == uid
    assert uid not in {e.id for e in process.tuner.study.optimizer.front()}
    assert "stopped 1 of 7" in process.assessor.summary()


def test_a_trial_over_its_limit_is_failed_and_a_stopped_one_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(folder / "log"))
    (folder / "log").mkdir()
    process = Process(folder, **HALVING, spared=0.0)
    for trial in range(6):
        process.run_whole(0.8 + trial / 100)
    # One is stopped, and heeds no signal: its limit ends it. The other only meets its limit.
    ended = []
    for value in (0.1, 0.9):
        parameter_id, uid = process.start()
        assert process.report(parameter_id, uid, value) is (value == 0.9)
        said = folder / "environments" / "local-env" / "trials" / f"t{uid}"
        said.mkdir(parents=True)
        (said / "trial.stderr").write_text("\ntrial failed: over its limit of 9 s (x)\n")
        process.tuner.jobs[parameter_id] = f"t{uid}"
        process.end(parameter_id, False)
        ended.append(uid)
    for timer in list(process.tuner._lost.timers):
        timer.join(5)
    trials = TrialLog.read(folder / "journal.jsonl").trials
    assert [trials[uid].status for uid in ended] == ["censored", "failed"]
    assert trials[ended[1]].reason == "over its limit of 9 s (x)"
    assert [trials[uid].job_id for uid in ended] == [f"t{uid}" for uid in ended]


def test_a_trial_that_ends_before_it_is_killed_keeps_its_result(folder: Path) -> None:
    process = Process(folder, **HALVING, spared=0.0)
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
    for timer in list(process.tuner._lost.timers):
        timer.join(5)
    assert [e["uid"] for e in process.journal if e["event"] == "fail"] == [uid]


def test_spared_trials_run_on_and_are_counted(folder: Path) -> None:
    process = Process(folder, **HALVING, spared=1.0)
    for trial in range(6):
        process.run_whole(0.8 + trial / 100)
    assert process.run_whole(0.1, size=2.0)
    assert "stopped 0 of 7" in process.assessor.summary()
    assert "of 1 that were spared 0 are on the front" in process.assessor.summary()


def test_successive_halving_stops_by_rank(folder: Path) -> None:
    process = Process(folder, **HALVING, spared=0.0)
    verdicts = []
    for value in (0.9, 0.1, 0.95, 0.2):
        parameter_id, uid = process.start()
        verdicts.append(process.report(parameter_id, uid, value))
    assert verdicts == [True, False, True, False]


def test_reports_that_cannot_be_compared_never_stop_a_trial(folder: Path) -> None:
    process = Process(folder, **HALVING, spared=0.0)
    for _ in range(3):
        process.run_whole(0.9)
    parameter_id, uid = process.start()
    for history in ([0.1], [{"gain": 0.1, "size": 9}], [{"gain": 0.1, "uid": uid}]):
        assert process.assessor.assess_trial(f"t{parameter_id}", history) is AssessResult.Good
    mixed = [{"gain": 0.1, "size": 9, "uid": uid}, {"gain": 0.1, "size": 9, "uid": 1}]
    assert process.assessor.assess_trial("other", mixed) is AssessResult.Good


def test_what_was_seen_and_stopped_outlives_a_restart(folder: Path) -> None:
    first = Process(folder, **HALVING, spared=0.0)
    for trial in range(6):
        first.run_whole(0.8 + trial / 100)
    parameter_id, uid = first.start()
    assert not first.report(parameter_id, uid, 0.1)
    first.end(parameter_id, False)

    second = Process(folder, **HALVING, spared=0.0)
    second.next_id = 20
    second.assessor.load_checkpoint()
    assert "stopped 1 of 7" in second.assessor.summary()
    parameter_id, uid = second.start()
    assert not second.report(parameter_id, uid, 0.1), "earlier reports count from the start"


def test_a_chromosome_that_is_asked_again_starts_at_its_first_rung(folder: Path) -> None:
    first = Process(folder, **HALVING, spared=0.0)
    for trial in range(6):
        first.run_whole(0.8 + trial / 100)
    parameter_id, uid = first.start()
    assert first.report(parameter_id, uid, 0.75, 0.8)

    second = Process(folder, **HALVING, spared=0.0)
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
        ({"policy": "luck"}, ValueError, ["'luck'", "reservation_value, successive_halving"]),
        ({"policy": ["gain"]}, ValueError, ["['gain']", "reservation_value, successive_halving"]),
        ({"policy": None}, ValueError, ["policy=None"]),
        ({"spared": "few"}, ValueError, ["spared='few'"]),
        ({"eta": 3}, TypeError, ["eta", "allowed: policy, spared)"]),
        ({"policy": "halving", "eta": 1}, ValueError, ["eta=1"]),
        ({"policy": "halving", "risk": 0.1}, TypeError, ["'halving'", "spared, eta, first)"]),
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


@pytest.mark.parametrize(
    ("class_args", "policy", "spared"),
    [
        ({}, ReservationValue, 0.0),
        ({"policy": "reservation_value"}, ReservationValue, 0.0),
        ({"policy": "promise"}, ReservationValue, 0.0),
        ({"policy": "successive_halving"}, SuccessiveHalving, 0.1),
        ({"policy": "halving", "eta": 4, "spared": 0}, SuccessiveHalving, 0.0),
    ],
)
def test_the_policies_by_their_names_of_now_and_before(
    class_args: dict[str, Any],
    policy: type[Policy],
    spared: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found, share = parse(class_args)
    assert isinstance(found, policy)
    assert getattr(found, "eta", 4) == class_args.get("eta", getattr(policy, "eta", 4))
    assert share == spared
    assert retired(class_args) is None
    ParetoAssessor(**class_args)
    assert not caplog.records


@pytest.mark.parametrize(
    "class_args",
    [{"policy": "gain"}, {"policy": "gain", "risk": 0.1, "spared": 0.1}, {"risk": 0.2}],
)
def test_the_gain_policy_runs_as_reservation_value_and_says_so(
    class_args: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assessor = ParetoAssessor(**class_args)
    assert isinstance(assessor.policy, ReservationValue)
    assert assessor.spared == class_args.get("spared", 0.0)
    (record,) = caplog.records
    assert "policy 'gain' runs as 'reservation_value'" in record.message
    assert ("'risk'" in record.message) is ("risk" in class_args)


class Eager(ReservationValue):
    """Stops every trial at its first report, and has the first of them run again."""

    def decide(self, number: int, state: SearchState) -> StopDecision | None:
        return StopDecision(dict(state.curves[number][-1]), 1, "eager")

    def reopen(self, stopped: Sequence[int], state: SearchState, *, new: bool) -> int | None:
        return stopped[0] if stopped else None


class Late(Eager):
    """Has stopped trials run again only when there is no new candidate."""

    def reopen(self, stopped: Sequence[int], state: SearchState, *, new: bool) -> int | None:
        return None if new else super().reopen(stopped, state, new=new)


def test_a_stopped_trial_runs_again_to_its_end(folder: Path) -> None:
    process = Process(folder, policy="reservation_value")
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
    first = Process(folder, policy="reservation_value")
    parameter_id, uid = first.start()
    first.assessor.policy = Eager()
    assert not first.report(parameter_id, uid, 0.1)
    first.end(parameter_id, False)
    assert first.start()[1] == uid

    second = Process(folder, policy="reservation_value")
    second.next_id = 20
    second.assessor.load_checkpoint()
    assert second.tuner.study.trials[uid].status == "running"
    parameter_id, again = second.start()
    assert again == uid
    assert second.report(parameter_id, uid, 0.1), "not stopped a second time"


def test_all_stopped_trials_may_run_again_in_an_exhausted_space(folder: Path) -> None:
    """One after the other, though none is pending when the next one is asked for."""
    process = Process(folder, policy="reservation_value")
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


def test_a_reservation_value_stops_what_its_report_makes_hopeless(folder: Path) -> None:
    process = Process(folder, policy="reservation_value")

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
