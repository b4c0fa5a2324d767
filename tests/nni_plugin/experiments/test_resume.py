"""Stop, resume, kill -9: nothing told is lost, nothing is asked twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.nni, pytest.mark.slow]

TRIALS = 7


def start(nni: Any) -> None:
    nni.create(nni.config("time.sleep(0.7)", trialConcurrency=2, maxTrialNumber=TRIALS))
    nni.wait_for(lambda: len(told(nni)) >= 2)


def told(nni: Any) -> list[int]:
    return [e["uid"] for e in nni.journal() if e["event"] == "tell"]


def check_all_told_once(nni: Any) -> None:
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    nni.wait_for(lambda: len(told(nni)) >= TRIALS)
    asked = [e for e in nni.journal() if e["event"] == "ask"]
    points = [json.dumps(e["params"], sort_keys=True) for e in asked]
    assert len(set(points)) == len(points), "a chromosome was asked twice under another number"
    assert len({e["uid"] for e in asked}) == len(asked)
    assert len(set(told(nni))) == len(told(nni)), "a result was told twice"
    assert not [e for e in nni.journal() if e["event"] == "fail"]
    # maxTrialNumber counts trials; each has given its own chromosome a result.
    assert len(told(nni)) == TRIALS
    assert len(asked) <= TRIALS + 4, "NNI asks ahead: once at the start, once at the resume"
    assert nni.wrong_pairs() == []


def test_stop_and_resume(nni: Any) -> None:
    start(nni)
    nni.stop()
    before = told(nni)
    assert nni.journal()[-1]["reason"] == "stopped"
    nni.resume()
    check_all_told_once(nni)
    assert told(nni)[: len(before)] == before


@pytest.mark.nightly  # `test_resume_at_once_after_a_kill_9` kills it in every run
def test_kill_9_of_the_tuner(nni: Any) -> None:
    start(nni)
    nni.kill("--exp_params")
    nni.stop()
    nni.resume()
    check_all_told_once(nni)


@pytest.mark.nightly
def test_kill_9_of_the_manager(nni: Any) -> None:
    start(nni)
    nni.kill("main.js")
    # The old tuner and trials look for their manager for about ten seconds.
    nni.wait_for(lambda: not nni.processes("--exp_params"), seconds=120)
    nni.resume()
    check_all_told_once(nni)
