"""Files that commit 92e111d wrote, before the modules moved; its journal has a test of its own."""

from __future__ import annotations

import json

import pytest
import torch

import hardware
from evaluators.export import load
from nni_plugin.study.journal import read_chromosome
from support.paths import REPOSITORY

OLD = REPOSITORY / "tests" / "data" / "92e111d"


def test_a_network_file_and_a_chromosome_cost_what_they_did() -> None:
    network = hardware.Network.load(OLD / "network.json")
    layers = network.apply(read_chromosome(OLD / "params.json"))
    told = json.loads((OLD / "metrics.json").read_text())["val"]
    costs = hardware.estimate(layers, hardware.load_device("stm32f746")).as_dict()
    assert costs == pytest.approx({name: told[name] for name in costs})


def test_an_exported_network_loads_and_answers_as_it_did() -> None:
    network = load(OLD / "model.pt")
    with torch.no_grad():
        answer = network(torch.linspace(0, 1, 64).reshape(1, 1, 8, 8))
    # What the code of that commit answered.
    assert answer.tolist()[0] == pytest.approx([-0.1253633, -0.1703797, 0.0523195], abs=1e-5)
    assert network.metadata["params"] == read_chromosome(OLD / "params.json")
