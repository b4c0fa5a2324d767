"""Trainings to the end as the tuner hands them to NNI, lost ones and the end of the search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.protocol.limits import FILE
from nni_plugin.study.trial_limits import AT_FIRST_S
from support.final_search import CLASS_ARGS, SPACE, result
from support.tuner_process import Dispatcher

PLANNED = 20
FINAL = {"epochs": 40, "trials": 4, "count": 1, "seeds": 2}
Start = Callable[..., Dispatcher]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a tuner on the test's folder, of an experiment with so many trials."""
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path / "log"))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    (tmp_path / "log").mkdir()
    running = []

    def begin(planned: int | None = PLANNED, **class_args: Any) -> Dispatcher:
        config = {} if planned is None else {"maxTrialNumber": planned}
        monkeypatch.setattr("nni_plugin.tuner.experiment_config", lambda: config)
        nni = Dispatcher(tmp_path, **{**CLASS_ARGS, "final": FINAL, **class_args})
        nni.space(SPACE)
        running.append(nni)
        return nni

    yield begin
    for nni in running:
        nni.exit()


def answer(nni: Dispatcher, parameter_id: int) -> None:
    params = nni.trials[parameter_id]
    nni.tell(parameter_id, {**result(params), "uid": params["uid"]})
    nni.end(parameter_id, True)


def test_parameters_carry_epochs_seed_and_a_number_of_their_own(start: Start) -> None:
    nni = start()
    for _ in range(PLANNED):
        answer(nni, *nni.ask(1))
    finals = [p for p in nni.trials.values() if "final_epochs" in p]
    assert len(finals) == 6
    assert [p["uid"] for p in finals] == list(range(-1, -7, -1))
    assert {p["final_epochs"] for p in finals} == {40}
    assert [(p["final_seed"], p["final_test"]) for p in finals] == [(0, 0)] * 4 + [(1, 1), (2, 1)]
    last = list(nni.trials.values())[-2:]
    assert last == finals[-2:]
    assert {name: last[0][name] for name in "xy"} == {name: last[1][name] for name in "xy"}
    assert not nni.errors


def test_they_have_time(start: Start, tmp_path: Path) -> None:
    nni = start()
    limits = []
    for _ in range(10):
        (one,) = nni.ask(1)
        limits.append(json.loads((tmp_path / "log" / FILE).read_text())["seconds"])
        if "final_epochs" in nni.trials[one]:
            break
        answer(nni, one)
    assert limits[-1] == AT_FIRST_S
    assert limits[-2] < AT_FIRST_S


def test_the_end_waits_for_finalists_and_asks_lost_ones_again(start: Start) -> None:
    nni = start(None, budget=8, final={**FINAL, "trials": 0})
    for _ in range(8):
        answer(nni, *nni.ask(1))
    one, two = nni.ask(2)
    assert [nni.trials[i]["final_seed"] for i in (one, two)] == [1, 2]
    assert nni.ask(1) == [], "nothing to ask, but the end is not there yet"
    assert nni.journal[-1]["event"] != "end"
    waiting = nni.next_id - 1
    answer(nni, one)
    nni.end(two, False)
    nni.settle()
    again = nni.trials[waiting]
    assert (again["final_seed"], again["uid"]) == (2, -3)
    answer(nni, waiting)
    assert nni.ask(1) == []
    assert nni.journal[-1] | {"time": 0, "uptime": 0} == {
        "event": "end", "reason": "budget", "time": 0, "uptime": 0,
    }  # fmt: skip


def test_what_ran_when_the_tuner_died_is_asked_again_first(start: Start) -> None:
    nni = start()
    ids = []
    while not any("final_epochs" in p for p in nni.trials.values()):
        ids += nni.ask(1)
        if "final_epochs" not in nni.trials[ids[-1]]:
            answer(nni, ids[-1])
    open_ = nni.trials[ids[-1]]
    nni.exit()
    resumed = start()
    (first,) = resumed.ask(1)
    assert resumed.trials[first] == open_
    answer(resumed, first)
    assert resumed.tuner.study.log.finals[-1].status == "complete"


def test_a_budget_that_leaves_no_search_is_refused(start: Start) -> None:
    with pytest.raises(ValueError, match=r"take 6 of maxTrialNumber=6"):
        start(6)
