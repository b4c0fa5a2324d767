"""Files that commit 92e111d wrote, before the modules moved; its journal has a test of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import hardware
from evaluators.export import load
from nni_plugin.study.journal import read_chromosome
from support.paths import REPOSITORY

OLD = REPOSITORY / "tests" / "data" / "92e111d"


def test_a_network_file_and_a_chromosome_cost_what_they_did() -> None:
    network = hardware.Network.load(OLD / "network.json")
    told = json.loads((OLD / "metrics.json").read_text())["val"]
    costs = hardware.cost_function(network, hardware.load_device("stm32f746"))
    # No `flash_kb`, and the latency of the stack that was the default then.
    assert costs(read_chromosome(OLD / "params.json")) == {
        name: told[name]
        for name in ("size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops")
    }


def test_a_network_file_of_before_stays_one(tmp_path: Path) -> None:
    network = hardware.Network.load(OLD / "network.json")
    network.save(tmp_path / "again.json")
    assert "costs_version" not in (tmp_path / "again.json").read_text()
    again = hardware.Network.load(tmp_path / "again.json")
    device = hardware.device_of(again, hardware.load_device("stm32f746"))
    assert (device.stack, device.version) == ("hale-1.0.175", 1)
    # A stack that is asked for by name stays, at the factors of then.
    named = hardware.device_of(again, hardware.load_device("stm32f746", "plumerai-1.0"))
    assert (named.stack, named.version) == ("plumerai-1.0", 1)


def test_an_exported_network_loads_and_answers_as_it_did() -> None:
    network = load(OLD / "model.pt")
    with torch.no_grad():
        answer = network(torch.linspace(0, 1, 64).reshape(1, 1, 8, 8))
    # What the code of that commit answered.
    assert answer.tolist()[0] == pytest.approx([-0.1253633, -0.1703797, 0.0523195], abs=1e-5)
    assert network.metadata["params"] == read_chromosome(OLD / "params.json")
