"""Results that no search can use: of trials, of NNI's replay on resume and of an import."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ga
from nni_plugin.study.trial_log import TrialLog
from support.tuner_process import Dispatcher

HUGE = 10**400
DEEP: dict[str, Any] = {"a": {"b": [{"c": {}}]}}
# Whatever a trial may report; none of them holds both objectives as finite numbers.
BAD: list[Any] = [
    {"foo": 1},
    {},
    "high",
    "",
    None,
    True,
    [1, 2],
    DEEP,
    0.5,
    HUGE,
    math.nan,
    -math.inf,
    {"gain": HUGE, "price": 1},
    {"gain": -HUGE, "price": 1},
    {"gain": math.nan, "price": 1},
    {"gain": 1, "price": math.inf},
    {"gain": "1", "price": 1},
    {"gain": DEEP, "price": [1]},
    {"uid": "x", "gain": None},
    {"uid": HUGE},
    {"gain": "\ud800", "\ud800": 1},
]
SHAPES = [7, None, "x", [], ["parameter"], {}, {"parameter": 3, "value": {"gain": 1, "price": 1}}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    return tmp_path


@pytest.fixture
def nni(folder: Path) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(folder)
    dispatcher.space(LARGE)
    yield dispatcher
    # A search that was resumed has a later owner, and its first tuner is dead.
    dispatcher.exit()


LARGE = {name: {"_type": "choice", "_value": list(range(8))} for name in "xy"}


def resumed(folder: Path) -> Dispatcher:
    again = Dispatcher(folder, first_id=1000)
    again.tuner.load_checkpoint()
    again.space(LARGE)
    return again


def tell_bad(nni: Dispatcher, values: list[Any]) -> list[dict[str, Any]]:
    """Told as they are; returned is what NNI replays of them."""
    ids = nni.ask(len(values))
    replay = []
    for parameter_id, value in zip(ids, values, strict=True):
        uid = nni.uid(parameter_id)
        value = {"uid": uid, **value} if isinstance(value, dict) else value
        nni.tuner.receive_trial_result(parameter_id, "", value, trial_job_id=f"t{parameter_id}")
        entry = {"parameter": nni.trials[parameter_id], "value": value}
        replay.append({**entry, "trialJobId": f"t{parameter_id}"})
    return replay


def test_no_final_result_ends_the_search(nni: Dispatcher) -> None:
    (first,) = nni.ask(1)
    nni.tell(first)
    tell_bad(nni, BAD)
    assert not nni.errors
    log = TrialLog.read(nni.folder / "journal.jsonl")
    assert log.counts() == {"complete": 1, "failed": len(BAD), "censored": 0, "running": 0}
    assert all(trial.reason for trial in log.finished("failed"))
    assert len(nni.ask(2)) == 2


def test_huge_whole_numbers_that_are_no_objective_are_left_out(nni: Dispatcher) -> None:
    (first,) = nni.ask(1)
    nni.tell(first, steps=HUGE, macs=10**300)
    (told,) = [event for event in nni.journal if event["event"] == "tell"]
    assert "steps" not in told["metrics"]
    assert told["metrics"]["macs"] == 1e300


def test_a_replay_of_results_without_the_objectives_never_ends_a_resume(nni: Dispatcher) -> None:
    (first,) = nni.ask(1)
    nni.tell(first)
    replay = tell_bad(nni, BAD)
    lines = len(nni.journal)
    for start in range(1, 4):
        again = resumed(nni.folder)
        again.tuner.import_data([*replay, *SHAPES])
        again.tuner.import_data([{**entry, "trialJobId": "other"} for entry in replay])
        assert not again.errors
        assert len(again.ask(1)) == 1
        added = [e["event"] for e in again.journal[lines:]]
        assert added == ["start", "ask"] + ["start"] * (start - 1)
        again.tuner._study.close()  # type: ignore[union-attr]


def test_a_replay_ends_no_search_that_never_had_a_result(folder: Path) -> None:
    first = Dispatcher(folder)
    first.space(LARGE)
    first.ask(9)
    again = resumed(folder)
    again.tuner.import_data(
        [
            {"parameter": params, "value": {"foo": 1, "uid": params["uid"]}, "trialJobId": f"t{i}"}
            for i, params in first.trials.items()
        ]
    )
    assert not again.errors
    assert TrialLog.read(folder / "journal.jsonl").counts()["failed"] == 9
    new = again.ask(3)
    for parameter_id in new[:2]:
        again.tell(parameter_id, {"foo": 1})
    with pytest.raises(ValueError, match="no trial reports the metric"):
        again.tell(new[2], {"foo": 1})


def test_after_a_resume_trials_that_all_fail_end_the_search(nni: Dispatcher) -> None:
    for parameter_id in nni.ask(3):
        nni.tell(parameter_id)
    again = resumed(nni.folder)
    ids = again.ask(9)
    for parameter_id in ids[:7]:
        again.end(parameter_id, False)
    again.settle()
    assert not again.errors
    again.end(ids[7], False)
    again.settle()
    assert "the first 8 trials since the resume all failed" in again.errors[0]
    # The next start counts anew.
    third = resumed(nni.folder)
    third.end(third.ask(1)[0], False)
    third.settle()
    assert not third.errors


def test_a_bad_result_after_the_trial_was_given_up_counts_once(nni: Dispatcher) -> None:
    ids = nni.ask(7)
    for parameter_id in ids:
        nni.end(parameter_id, False)
    nni.settle()
    for parameter_id in ids:
        nni.tell(parameter_id, "text")
    assert not nni.errors


def test_imported_entries_of_a_wrong_shape_are_left_out(
    nni: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"parameter": {"x": 3, "y": 0}, "value": {"gain": 3, "price": 3}}
    wrong = [{"x": bad, "y": 0} for bad in (math.nan, HUGE, [], {}, None, "3", 1e308)]
    entries = [*SHAPES, *({**good, "parameter": params} for params in wrong)]
    nni.tuner.import_data([*entries, *({**good, "value": value} for value in BAD), good, good])
    nni.tuner.import_data(good)  # type: ignore[arg-type]
    imported = [event for event in nni.journal if event["event"] == "import"]
    assert [event["params"] for event in imported] == [good["parameter"]]
    assert "imported entry left out: it is no dict but 7" in caplog.text
    assert "its parameter is no dict but 3" in caplog.text
    assert not nni.errors


def test_what_another_search_exported_is_no_result_of_this_one(nni: Dispatcher) -> None:
    ids = nni.ask(2)
    genes = {"x": 7 - nni.trials[ids[0]]["x"], "y": nni.trials[ids[0]]["y"]}
    theirs = {"gain": 9, "price": 0, "uid": nni.uid(ids[0])}
    entry = {"parameter": {**genes, "uid": nni.uid(ids[0])}, "value": theirs, "trialJobId": "a"}
    nni.tuner.import_data([entry, {**entry, "value": {"gain": 9, "price": 0}}])
    # NNI's wrong pairing, in the other search.
    nni.tuner.import_data([{**entry, "value": {**theirs, "uid": nni.uid(ids[1])}}])
    assert [nni.status(nni.uid(i)) for i in ids] == ["running"] * 2
    (event,) = [event for event in nni.journal if event["event"] == "import"]
    assert event["params"] == genes


def test_a_result_in_the_journal_without_todays_objective_counts_as_failed(folder: Path) -> None:
    first = Dispatcher(folder)
    first.space(LARGE)
    (one, two) = first.ask(2)
    first.tell(one)
    first.tell(two, other=1.0)
    again = Dispatcher(folder, objectives={"gain": "maximize", "other": "minimize"})
    again.space(LARGE)
    kept = {e.id: e.status for e in again.tuner.study.optimizer.evaluations}
    assert kept == {first.uid(one): "failed", first.uid(two): "complete"}


def test_ends_of_unknown_trials_and_choices_that_are_lists(folder: Path) -> None:
    nni = Dispatcher(folder, objectives={"default": "maximize"})
    nni.space(
        {
            "lr": {"_type": "loguniform", "_value": [1e-5, 1e-1]},
            "hidden": {"_type": "choice", "_value": [[], [256], [1024, 512]]},
            "n": {"_type": "randint", "_value": [1, 9]},
        }
    )
    ids = nni.ask(3)
    nni.end(684, False)
    nni.end(None, True)
    nni.tuner.receive_trial_result(99, "", 0.5)
    nni.tell(ids[0], 0.5)
    assert all(isinstance(p["hidden"], list) for p in nni.trials.values())
    assert nni.status(nni.uid(ids[0])) == "complete"


def test_a_flat_objective_and_failures_do_not_stop_the_search() -> None:
    space = ga.SearchSpace([ga.Ordered(f"x{i}", (0, 1, 2, 3)) for i in range(5)])
    optimizer = ga.Optimizer(space, {"acc": "maximize", "size": "minimize"}, seed=0)
    seen = set()
    for _ in range(40):
        candidate = optimizer.ask()
        seen.add(json.dumps(candidate.params, sort_keys=True))
        if candidate.params["x0"] == 1:
            with pytest.raises(ValueError, match="finite"):
                optimizer.tell(candidate.id, {"acc": 0.1, "size": math.nan})
            optimizer.fail(candidate.id, "NaN")
        else:
            optimizer.tell(candidate.id, {"acc": 0.1, "size": sum(candidate.params.values())})  # type: ignore[arg-type]
    assert len(seen) == 40
    assert min(e.metrics["size"] for e in optimizer.front() if e.metrics) <= 3
