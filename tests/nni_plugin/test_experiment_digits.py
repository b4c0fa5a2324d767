"""The main job in small: the digits network, pruned, quantized and trained in real NNI trials."""

from __future__ import annotations

import json
from typing import Any

import pytest

import hardware
from evaluators import load_task, trace
from evaluators.cache import cache_dir
from nni_plugin.search_space import for_network

pytestmark = [pytest.mark.nni, pytest.mark.slow]

METRICS = {"default", "accuracy", "size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops"}


def test_every_final_result_holds_all_metrics_and_the_costs_the_tuner_computed(nni: Any) -> None:
    network = trace(load_task("evaluators.tasks.digits:build"))
    network.save(nni.folder / "digits.network.json")
    space = for_network(network, hardware.load_device("stm32f746"))
    (nni.folder / "space.json").write_text(json.dumps(space))
    # The baseline is trained once for all tests, not once in each experiment's own home.
    nni.environment["JOINT_GA_CACHE"] = str(cache_dir())
    settings = nni.config(trialConcurrency=2, maxTrialNumber=4)
    del settings["searchSpace"]
    settings["searchSpaceFile"] = "space.json"
    settings["trialCommand"] = (
        "python -m nni_plugin.trial --task evaluators.tasks.digits:build --device stm32f746 "
        "--epochs 1 --network digits.network.json"
    )
    settings["tuner"]["classArgs"] = {
        "objectives": {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"},
        "constraints": {"ram_kb": "<= 64"},
        "costs": {"network": "digits.network.json", "device": "stm32f746"},
    }
    nni.create(settings)
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    pairs = nni.succeeded()
    assert len(pairs) == 4
    asked = {e["uid"]: e for e in nni.journal() if e["event"] == "ask"}
    for params, metrics in pairs:
        assert metrics.keys() >= METRICS
        assert params["uid"] == metrics["uid"]
        costs = asked[metrics["uid"]]["costs"]
        assert {name: metrics[name] for name in costs} == costs
        assert all(isinstance(value, int | float) for value in metrics.values())
    reports = [m for m in nni.rest("/metric-data") if m["type"] == "PERIODICAL"]
    assert len(reports) >= 3 * len(pairs)
    trial = nni.trials()[0]["trialJobId"]
    (log,) = nni.home.glob(f"**/{trial}/trial.log")
    assert "seconds: python" in log.read_text(), "NNI sends what a trial prints to its log file"
    nni.stop()
    assert nni.journal()[-1]["reason"] == "budget", "all planned trials are done"
