"""A real experiment in which the assessor stops trials."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import Any

import pytest

import hardware
from evaluators import load_task, trace
from evaluators.cache import cache_dir
from nni_plugin.search_space import for_network
from nni_plugin.study.journal import read

pytestmark = [pytest.mark.nni, pytest.mark.slow]

BODY = """
for seq in range(3):
    nni.report_intermediate_result({
        "default": params["x"] + params["y"] - 0.1 * (2 - seq),
        "size": 2 * params["x"] - params["y"], "seq": seq, "uid": params["uid"],
    })
    time.sleep(1.5 if seq == 0 else 0.1)
"""


def test_stopped_trials_are_censored(nni: Any) -> None:
    settings = nni.config(BODY, trialConcurrency=2, maxTrialNumber=8)
    settings["assessor"] = {
        "className": "nni_plugin.ParetoAssessor",
        "codeDirectory": str(nni.repository),
        "classArgs": {"policy": "successive_halving", "eta": 2, "spared": 0.0},
    }
    nni.create(settings)
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    trials = {job["trialJobId"]: job["status"] for job in nni.trials()}
    stopped = nni.wait_for(
        lambda: (
            [e for e in nni.journal() if e["event"] == "censor"]
            if sum(e["event"] in ("censor", "tell") for e in nni.journal()) == 8
            else None
        )
    )
    told = [e for e in nni.journal() if e["event"] == "tell"]
    assert stopped
    assert told
    assert not [e for e in nni.journal() if e["event"] == "fail"]
    assert not {e["uid"] for e in stopped} & {e["uid"] for e in told}
    assert sorted(trials.values()).count("USER_CANCELED") == len(stopped)
    asked = {e["uid"]: e["params"] for e in nni.journal() if e["event"] == "ask"}
    for event in stopped:
        params = asked[event["uid"]]
        assert event["metrics"]["size"] == 2 * params["x"] - params["y"]
        assert event["metrics"]["seq"] == event["rung"] - 1
    # NNI's labels of intermediate results: each trial's own, in order.
    reports: dict[int, list[float]] = {}
    for event in read(nni.home / "checkpoint" / "rungs.jsonl"):
        if event["event"] == "rung":
            reports.setdefault(event["uid"], []).append(event["metrics"]["seq"])
    assert len(reports) == 8
    assert all(seqs == list(range(len(seqs))) for seqs in reports.values())
    assert nni.wrong_pairs() == []


@pytest.mark.nightly
def test_successive_halving_stops_real_trials_of_the_digits(nni: Any) -> None:
    network = trace(load_task("evaluators.tasks.digits:build"))
    network.save(nni.folder / "digits.network.json")
    nni.environment["JOINT_GA_CACHE"] = str(cache_dir())
    settings = nni.config(trialConcurrency=2, maxTrialNumber=10)
    settings["searchSpace"] = for_network(network, hardware.load_device("stm32f746"))
    settings["trialCommand"] = (
        "python -m nni_plugin.trial --task evaluators.tasks.digits:build --device stm32f746 "
        "--epochs 1 --network digits.network.json"
    )
    settings["tuner"]["classArgs"] = {
        "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
        "constraints": {"accuracy": ">= 0.9"},
        "costs": {"network": "digits.network.json", "device": "stm32f746"},
    }
    settings["assessor"] = {
        "className": "nni_plugin.ParetoAssessor",
        "codeDirectory": str(nni.repository),
        # As a config of before spells it.
        "classArgs": {"policy": "halving", "eta": 2, "spared": 0.0},
    }
    nni.create(settings)
    assert nni.wait("DONE", "ERROR", seconds=400) == "DONE"
    events = nni.wait_for(
        lambda: (
            nni.journal()
            if sum(e["event"] in ("censor", "tell") for e in nni.journal()) == 10
            else None
        )
    )
    stopped = [e for e in events if e["event"] == "censor"]
    assert stopped, "no trial was stopped"
    assert not [e for e in events if e["event"] == "fail"]
    front = [e["metrics"] for e in events if e["event"] == "tell"]
    costs = {e["uid"]: e["costs"] for e in events if e["event"] == "ask"}
    for event in stopped:
        assert "not among the best" in event["reason"]
        assert event["metrics"]["size_kb"] == costs[event["uid"]]["size_kb"]
    assert any(metrics["accuracy"] >= 0.9 for metrics in front)


@pytest.mark.nightly
def test_reservation_values_stop_trials_and_keep_the_books(nni: Any) -> None:
    # Luck, which reports show and chromosomes don't.
    body = """
    import random
    luck = random.Random(params["uid"]).uniform(-0.3, 0.3)
    end = {
        "default": params["x"] * (1 - params["x"]) + params["y"] + luck,
        "size": 2 * params["x"] - params["y"], "uid": params["uid"],
    }
    for seq in range(3):
        nni.report_intermediate_result({**end, "default": end["default"] - 0.1 * (2 - seq)})
        time.sleep(1.0 if seq == 0 else 0.1)
    nni.report_final_result(end)
    sys.exit()
    """
    settings = nni.config(textwrap.dedent(body), trialConcurrency=2, maxTrialNumber=30)
    steps = {"_type": "quniform", "_value": [0, 1, 0.01]}
    settings["searchSpace"] = {"x": steps, "y": steps}
    settings["assessor"] = {
        "className": "nni_plugin.ParetoAssessor",
        "codeDirectory": str(nni.repository),
        "classArgs": {"policy": "reservation_value"},
    }
    nni.create(settings)
    assert nni.wait("DONE", "ERROR", seconds=300) == "DONE"
    trials = nni.trials()
    endings = nni.wait_for(
        lambda: (
            found
            if len(found := [e for e in nni.journal() if e["event"] in ("censor", "tell")]) == 30
            else None
        )
    )
    stopped = [e for e in endings if e["event"] == "censor"]
    assert stopped, "no trial was stopped"
    assert all("of what pays for a whole one" in e["reason"] for e in stopped)
    assert not [e for e in nni.journal() if e["event"] == "fail"]
    assert [job["status"] for job in trials].count("USER_CANCELED") == len(stopped)
    # A stopped chromosome has another trial only after the word for it. (NNI may have asked for one
    # more than it ran.)
    asked = Counter(e["uid"] for e in nni.journal() if e["event"] in ("ask", "again"))
    ran = Counter(json.loads(job["hyperParameters"][0])["parameters"]["uid"] for job in trials)
    assert ran.total() == 30
    assert ran <= asked
    again = [e["uid"] for e in nni.journal() if e["event"] == "again"]
    assert set(again) <= {e["uid"] for e in stopped}
