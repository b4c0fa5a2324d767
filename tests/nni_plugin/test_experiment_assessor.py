"""A real experiment in which the assessor stops trials."""

from __future__ import annotations

from typing import Any

import pytest

from nni_plugin.journal import read

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
        "classArgs": {"policy": "halving", "eta": 2, "spared": 0.0},
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
