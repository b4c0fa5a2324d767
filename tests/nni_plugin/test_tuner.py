"""The tuner's callbacks, called as NNI's dispatcher calls them but in this process."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.protocol.limits import Limits
from nni_plugin.study.trial_log import TrialLog
from support.tuner_process import SPACE, Dispatcher, score


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path / "log"))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    (tmp_path / "log").mkdir()
    return tmp_path


@pytest.fixture
def nni(folder: Path) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(folder)
    dispatcher.space()
    yield dispatcher
    dispatcher.tuner._on_exit()


def test_candidates_are_distinct_and_carry_their_number(nni: Dispatcher) -> None:
    nni.ask(10)
    uids = [params["uid"] for params in nni.trials.values()]
    points = {(params["x"], params["y"]) for params in nni.trials.values()}
    assert uids == sorted(set(uids))
    assert len(points) == 10


def test_results_in_any_order(nni: Dispatcher) -> None:
    ids = nni.ask(12)
    random.Random(1).shuffle(ids)
    for parameter_id in ids:
        nni.tell(parameter_id)
        nni.end(parameter_id, True)
    told = [e for e in nni.journal if e["event"] == "tell"]
    assert [e["uid"] for e in told] == [nni.uid(i) for i in ids]
    assert told[0]["trial"] == f"t{ids[0]}"
    by_uid = {p["uid"]: p for p in nni.trials.values()}
    assert all(e["metrics"]["price"] == by_uid[e["uid"]]["x"] for e in told)


def test_plain_numbers_count_as_default(folder: Path) -> None:
    nni = Dispatcher(folder, objectives={"default": "minimize"})
    nni.space()
    (first,) = nni.ask(1)
    nni.tell(first, 0.25)
    assert nni.tuner.study.optimizer.front()[0].metrics == {"default": 0.25}


@pytest.mark.parametrize("bad", [math.nan, math.inf, "high", None, [1]])
def test_an_unusable_metric_fails_its_trial_and_no_other(nni: Dispatcher, bad: Any) -> None:
    first, second = nni.ask(2)
    nni.tell(first, {"gain": bad, "price": 1, "uid": nni.uid(first)})
    nni.tell(second)
    assert nni.status(nni.uid(first)) == "failed"
    assert nni.status(nni.uid(second)) == "complete"
    assert not nni.errors


def test_an_objective_that_no_trial_reports_ends_the_experiment(nni: Dispatcher) -> None:
    ids = nni.ask(3)
    for parameter_id in ids[:2]:
        nni.tell(parameter_id, {"gain": 1, "cost": 2})
    assert not nni.errors
    with pytest.raises(ValueError, match=r"'price'.*gain, cost"):
        nni.tell(ids[2], {"gain": 1, "cost": 2})
    assert "price" in nni.errors[0]
    assert nni.journal[-1]["event"] == "end"
    assert nni.journal[-1]["reason"] == "error"


def test_an_objective_that_some_trials_lack_only_fails_those(nni: Dispatcher) -> None:
    ids = nni.ask(6)
    nni.tell(ids[0])
    for parameter_id in ids[1:]:
        nni.tell(parameter_id, {"gain": 1})
    assert not nni.errors
    assert [nni.status(nni.uid(i)) for i in ids] == ["complete"] + ["failed"] * 5


def test_failed_trials_and_those_without_a_result(nni: Dispatcher) -> None:
    crashed, silent, fine = nni.ask(3)
    nni.end(crashed, False)
    nni.end(silent, True)
    nni.tell(fine)
    nni.end(fine, True)
    nni.settle()
    assert [nni.status(nni.uid(i)) for i in (crashed, silent, fine)] == [
        "failed",
        "failed",
        "complete",
    ]
    reasons = [e["reason"] for e in nni.journal if e["event"] == "fail"]
    assert any("without a final result" in reason for reason in reasons)


def test_trials_that_all_fail_end_the_experiment_early(nni: Dispatcher) -> None:
    ids = nni.ask(9)
    for parameter_id in ids[:7]:
        nni.end(parameter_id, False)
    nni.settle()
    assert not nni.errors
    nni.end(ids[7], False)
    nni.settle()
    assert "the first 8 trials all failed" in nni.errors[0]
    assert nni.journal[-1]["event"] == "end"
    assert nni.journal[-1]["reason"] == "error"


def test_failures_after_a_result_end_nothing(nni: Dispatcher) -> None:
    ids = nni.ask(12)
    nni.tell(ids[0])
    for parameter_id in ids[1:]:
        nni.end(parameter_id, False)
    nni.settle()
    assert not nni.errors


def test_an_end_that_overtakes_its_result_is_no_failure(nni: Dispatcher) -> None:
    (first,) = nni.ask(1)
    nni.tuner.grace_failed = 30.0
    nni.end(first, False)
    nni.tell(first)
    assert nni.status(nni.uid(first)) == "complete"


def test_a_result_after_the_grace_time_still_counts(nni: Dispatcher) -> None:
    (first,) = nni.ask(1)
    nni.tuner.jobs[first] = f"t{first}"  # the same trial that reports it later
    nni.end(first, False)
    nni.settle()
    assert nni.status(nni.uid(first)) == "failed"
    assert nni.journal[-1]["job"] == f"t{first}"
    nni.tell(first)
    assert nni.status(nni.uid(first)) == "complete"
    assert len(nni.tuner.study.optimizer.front()) == 1


def test_limits_follow_the_trials_seen(folder: Path) -> None:
    nni = Dispatcher(folder, trial_limits={"memory_mb": 500})
    nni.space()
    first = Limits.read(folder / "log")
    assert first is not None
    assert (first.seconds, first.memory_mb) == (24 * 3600, 500)
    for parameter_id in nni.ask(5):
        nni.tell(parameter_id)
    later = Limits.read(folder / "log")
    assert later is not None
    assert later.seconds == 600
    nni.exit()


def test_a_second_result_and_unknown_ids_are_ignored(nni: Dispatcher) -> None:
    (first,) = nni.ask(1)
    nni.tell(first)
    nni.tell(first, gain=99)
    nni.tuner.receive_trial_result(500, "", {"gain": 1, "price": 1})
    nni.end(500, False)
    assert [e["metrics"]["gain"] for e in nni.journal if e["event"] == "tell"] == [
        score(nni.trials[first])["gain"]
    ]


def test_the_echoed_uid_outweighs_the_parameter_id(nni: Dispatcher) -> None:
    first, second = nni.ask(2)
    nni.tell(first, uid=nni.uid(second))
    assert nni.status(nni.uid(second)) == "complete"
    assert nni.status(nni.uid(first)) == "running"


def test_customized_trials_only_bring_one_more_request(nni: Dispatcher) -> None:
    nni.ask(2)
    nni.end(None, True)
    assert len(nni.ask(1)) == 1


def test_two_threads(nni: Dispatcher) -> None:
    space = {name: {"_type": "uniform", "_value": [0, 1]} for name in "xy"}
    nni.space(space)
    ids = nni.ask(60)
    threads = [
        threading.Thread(target=lambda: [nni.tell(i) for i in ids[::2]]),
        threading.Thread(target=lambda: [nni.end(i, i % 2 == 0) for i in ids]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    nni.settle()
    statuses = [nni.status(nni.uid(i)) for i in ids]
    assert statuses == ["complete", "failed"] * 30
    assert not nni.errors


def test_the_end_of_the_space_keeps_the_slots_for_a_larger_one(nni: Dispatcher) -> None:
    assert len(nni.ask(14)) == 14
    assert len(nni.ask(4)) == 2
    assert nni.ask(2) == []
    assert [e["reason"] for e in nni.journal if e["event"] == "end"] == ["exhausted"]
    larger = {**SPACE, "z": {"_type": "choice", "_value": [0, 1, 2]}}
    nni.space(larger)
    assert len(nni.trials) == 20, "the four starved ids were served"
    assert all("z" in nni.trials[i] for i in range(16, 20))


def test_the_space_may_change_while_trials_run(nni: Dispatcher) -> None:
    before = nni.ask(4)
    nni.tell(before[0])
    nni.space({**SPACE, "x": {"_type": "choice", "_value": [0, 1, 2, 3, 4, 5]}})
    for parameter_id in before[1:]:
        nni.tell(parameter_id)
    after = nni.ask(20)
    assert len(after) == 20
    points = [(p["x"], p["y"]) for p in nni.trials.values()]
    assert len(set(points)) == 24, "nothing is asked twice across the change"
    assert len(nni.tuner.study.optimizer.evaluations) == 4


def test_the_same_space_again_changes_nothing(nni: Dispatcher) -> None:
    nni.ask(2)
    nni.space(dict(SPACE))
    assert not [e for e in nni.journal if e["event"] == "space"]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "no usable gene"),
        ({"x": {"_type": "choice", "_value": [1]}}, "no usable gene"),
        ({"x": {"_type": "chioce", "_value": [1, 2]}}, "chioce"),
        ({"x": {"_type": "choice", "_value": []}}, "'x'"),
        ({"x": {"_type": "uniform", "_value": [3, 1]}}, "'x'"),
        ({"x": [1, 2]}, "'x'"),
    ],
)
def test_an_unusable_space_ends_the_experiment(
    folder: Path, space: dict[str, Any], words: str
) -> None:
    nni = Dispatcher(folder)
    with pytest.raises(ValueError, match=words):
        nni.space(space)
    assert words in nni.errors[0]


def test_limits_that_nothing_keeps_end_the_experiment(folder: Path) -> None:
    (folder / "my_costs_b.py").write_text("def price(p):\n    return {'price': p['x']}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        nni = Dispatcher(folder, costs="my_costs_b:price", constraints={"price": "<= -1"})
        nni.space()
        with pytest.raises(ValueError, match="price"):
            nni.ask(1)
    assert "price" in nni.errors[0]


def test_costs_known_to_the_tuner_need_not_be_reported(folder: Path) -> None:
    (folder / "my_costs_c.py").write_text("def price(p):\n    return {'price': p['x']}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        nni = Dispatcher(folder, costs="my_costs_c:price")
    nni.space()
    first, second = nni.ask(2)
    nni.tell(first, {"gain": 1})
    nni.tell(second, {"gain": 1, "price": 77})
    told = {e["uid"]: e["metrics"]["price"] for e in nni.journal if e["event"] == "tell"}
    assert told == {nni.uid(first): nni.trials[first]["x"], nni.uid(second): 77}


def test_imported_results_become_parents_once(nni: Dispatcher) -> None:
    data = [
        {"parameter": {"x": 3, "y": 0}, "value": {"gain": 3, "price": 3}},
        {"parameter": {"x": 9, "y": 0}, "value": {"gain": 3, "price": 3}},
        {"parameter": {"x": 2, "y": 0}, "value": {"gain": math.nan, "price": 3}},
        {"parameter": {"x": 1, "y": 0}, "value": 0.5},
    ]
    for _ in range(2):
        nni.tuner.import_data([dict(entry) for entry in data])
    imported = [e for e in nni.journal if e["event"] == "import"]
    assert [e["params"] for e in imported] == [{"x": 3, "y": 0}]
    nni.ask(15)
    assert (3, 0) not in {(p["x"], p["y"]) for p in nni.trials.values()}
    assert imported[0]["uid"] not in {p["uid"] for p in nni.trials.values()}


def test_resume_asks_nothing_twice_and_in_flight_ones_again(folder: Path) -> None:
    first = Dispatcher(folder)
    first.space()
    ids = first.ask(8)
    for parameter_id in ids[:5]:
        first.tell(parameter_id)
    first.end(ids[5], False)
    first.settle()
    in_flight = [first.trials[i] for i in ids[6:]]
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "tell", "uid": 7, "met')  # killed while writing

    second = Dispatcher(folder, first_id=3)
    second.tuner.load_checkpoint()
    second.space()
    # NNI's replay: every finished trial, here with another trial's parameters beside it.
    second.tuner.import_data(
        [
            {
                "parameter": first.trials[ids[0]],
                "value": {**score(first.trials[i]), "uid": first.uid(i)},
                "trialJobId": f"t{i}",
            }
            for i in ids[:5]
        ]
    )
    again = second.ask(4)
    assert [second.trials[i] for i in again[:2]] == in_flight
    everything = [*first.trials.values(), *(second.trials[i] for i in again[2:])]
    assert len({(p["x"], p["y"]) for p in everything}) == 10
    assert len({p["uid"] for p in everything}) == 10
    assert len(second.tuner.study.optimizer.evaluations) == 6
    for parameter_id in again:
        second.tell(parameter_id)
    assert TrialLog.read(folder / "journal.jsonl").counts()["complete"] == 9


def test_a_result_that_came_in_while_the_tuner_was_dead(folder: Path) -> None:
    first = Dispatcher(folder)
    first.space()
    ids = first.ask(3)
    second = Dispatcher(folder)
    second.space()
    echoing = {**score(first.trials[ids[0]]), "uid": first.uid(ids[0])}
    second.tuner.import_data(
        [
            {"parameter": first.trials[ids[1]], "value": echoing, "trialJobId": "a"},
            # No uid in the value: NNI may have paired it wrongly, so it is asked again.
            {
                "parameter": first.trials[ids[1]],
                "value": {"gain": 1, "price": 1},
                "trialJobId": "b",
            },
            # The result of a trial that NNI runs again comes without id, rightly paired.
            {"parameter": first.trials[ids[2]], "value": {"gain": 2, "price": 1}},
        ]
    )
    assert [second.status(first.uid(i)) for i in ids] == ["complete", "running", "complete"]
    (again,) = second.ask(1)
    assert second.uid(again) == first.uid(ids[1]), "what import brought is not asked again"


def test_a_replayed_search_goes_on_as_the_first_would_have(folder: Path) -> None:
    nni = Dispatcher(folder)
    nni.space()
    for _ in range(6):
        (parameter_id,) = nni.ask(1)
        nni.tell(parameter_id)
    resumed = Dispatcher(folder)
    resumed.space()
    expected = nni.tuner.study.optimizer.ask().params
    (parameter_id,) = resumed.ask(1)
    got = {k: v for k, v in resumed.trials[parameter_id].items() if k != "uid"}
    assert got == expected


def test_stopping_closes_the_journal_with_the_reason(nni: Dispatcher) -> None:
    nni.ask(1)
    nni.tuner._on_exit()
    assert nni.journal[-1]["event"] == "end"
    assert nni.journal[-1]["reason"] == "stopped"
    nni.tuner._study = None  # the fixture's own exit has nothing left to close


@pytest.mark.parametrize("failed_before", [False, True])
def test_an_error_of_nnis_dispatcher_ends_the_journal(folder: Path, failed_before: bool) -> None:
    nni = Dispatcher(folder)
    nni.space()
    if failed_before:
        nni.tuner._failed("the first reason")
    try:
        raise ConnectionError("the manager has closed the channel")
    except ConnectionError:  # as `nni.__main__` calls it
        nni.tuner._on_error()
    said = "the first reason" if failed_before else "ConnectionError('the manager has closed"
    (end,) = (event for event in nni.journal if event["event"] == "end")
    assert end["reason"] == "error"
    assert said in end["message"]
    log = TrialLog.read(folder / "journal.jsonl")
    assert log.ended == "error"
