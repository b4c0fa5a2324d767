"""The main job in small: the digits network, pruned, quantized and trained in real NNI trials."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import hardware
from evaluators import load_task, trace
from evaluators.cache import cache_dir
from nni_plugin.cli.app import main
from nni_plugin.search_space import for_network

pytestmark = [pytest.mark.nni, pytest.mark.slow]

METRICS = {"default", "accuracy", "size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops"}


def joint_ga(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The command in this process: exit code and all it printed."""
    before = sys.argv
    sys.argv = shlex.split(words)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return int(ended.value.code or 0), "".join(capsys.readouterr())


def exports_of_the_run(nni: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What the experiment has found, exported in every way that there is."""
    given = f"joint-ga export {nni.id} --dir {nni.folder / 'experiments'} --epochs 1"
    code, said = joint_ga(f"{given} --knee -o first", capsys)
    assert code == 0, said
    first = Path("first")
    metrics = json.loads((first / "metrics.json").read_text())
    assert metrics["onnx_mismatches"] == metrics["integer_mismatches"] == 0
    chosen = json.loads((first / "params.json").read_text())

    # The card's command makes the same network again, from the exported folder alone.
    (command,) = re.findall(r"^joint-ga export .*$", (first / "card.md").read_text(), re.M)
    code, said = joint_ga(command, capsys)
    assert code == 0, said
    again = Path("first-again")
    for name in ("weights.bin", "model.onnx", "c/model.c"):
        assert (again / name).read_bytes() == (first / name).read_bytes(), name
    repeated = json.loads((again / "metrics.json").read_text())
    assert repeated["test"] == metrics["test"]
    assert repeated["val"] == metrics["val"]

    # By number, by NNI's id and by a sentence it is the same trial: only the first words are read.
    uid = next(p["uid"] for p, _ in nni.succeeded_before if chosen.items() <= p.items())
    code, said = joint_ga(f"{given} --trial {uid} -o first", capsys)
    assert code == 1
    assert f"(uid {uid})" in said
    assert "first is not empty" in said
    code, said = joint_ga(f"{given} --pick 'accuracy > 1, min size_kb' -o second", capsys)
    assert (code, "the closest is trial" in said) == (1, True), said
    code, said = joint_ga(f"{given} --knee --pick 'min size_kb' -o second", capsys)
    assert (code, "exactly one of" in said) == (2, True), said
    # The model behind the name is another one by now.
    code, said = joint_ga(
        f"{given} --knee --task nni_plugin.setup.template_task:build -o second", capsys
    )
    assert code == 1, said
    assert said.splitlines()[-1].startswith("joint-ga: error: ")
    assert "Traceback" not in said
    assert not Path("second").exists()


def test_every_final_result_holds_all_metrics_and_the_costs_the_tuner_computed(
    nni: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
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
    nni.succeeded_before = pairs
    nni.stop()
    assert nni.journal()[-1]["reason"] == "budget", "all planned trials are done"
    monkeypatch.chdir(nni.folder)
    monkeypatch.setenv("JOINT_GA_CACHE", str(cache_dir()))
    exports_of_the_run(nni, capsys)
