"""What the tuner computes is what the trial reports: the same costs for every chromosome."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from evaluators import Task, trace
from evaluators.models.ds_cnn import DSCNN
from hardware import Network, estimate, load_device
from nni_plugin.network_space import extra_genes, for_network
from nni_plugin.search_space import parse
from nni_plugin.study.tuner_args import TunerArgs
from nni_plugin.trial import arguments
from support.paths import REPOSITORY

CONFIGS = REPOSITORY / "experiment_configs"
CHROMOSOMES = 500


def read(config: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(config.read_text())
    return settings


def compare(settings: dict[str, Any], network: Network, device: str) -> None:
    """The tuner's cost model against the layers of the pruned network, as a trial counts them."""
    costs = TunerArgs.parse(settings["tuner"]["classArgs"], [CONFIGS]).cost_model()
    assert costs is not None
    space = parse(json.loads((CONFIGS / settings["searchSpaceFile"]).read_text()))
    board = load_device(device)
    rng = random.Random(0)
    for _ in range(CHROMOSOMES):
        params = space.decode(space.sample(rng))
        received = json.loads(json.dumps(params))
        assert costs(params) == estimate(network.apply(received), board).as_dict()


@pytest.mark.parametrize(
    "config", [c for c in sorted(CONFIGS.glob("ga_joint*.yml")) if "remote" not in c.name],
    ids=lambda config: config.stem,
)  # fmt: skip
def test_the_tuners_costs_are_the_trials(config: Path) -> None:
    settings = read(config)
    words = shlex.split(settings["trialCommand"])
    trial = arguments(words[words.index("nni_plugin.trial") + 1 :])
    compare(settings, Network.load(CONFIGS / trial.network), trial.device)


def test_the_keyword_network_traced_anew_costs_the_same() -> None:
    x = torch.zeros(2, 1, 49, 10)
    batches = [(x, torch.zeros(2, dtype=torch.long))]
    task = Task(
        model=DSCNN(12).eval(), train=batches, val=batches, test=batches, example_input=x,
        loss=nn.functional.cross_entropy, metric=lambda outputs, targets: 0.0, name="kws",
    )  # fmt: skip
    compare(read(CONFIGS / "ga_joint_kws.yml"), trace(task), "stm32l4r5")


@pytest.mark.parametrize("kind", ["digits", "kws"])
def test_so_they_are_with_every_optional_gene(kind: str, tmp_path: Path) -> None:
    network = Network.load(CONFIGS / f"{kind}.space.network.json")
    board = load_device("stm32l4r5")
    space = for_network(network, board, extra=extra_genes())
    kinds = {key.rsplit(".", 1)[-1] for key in space}
    assert {"pruner", "w_scheme", "sparsity", "rank"} <= kinds
    (tmp_path / "space.json").write_text(json.dumps(space))
    network.save(tmp_path / "space.network.json")
    args = {"costs": {"network": str(tmp_path / "space.network.json"), "device": board.id}}
    compare(
        {"tuner": {"classArgs": args}, "searchSpaceFile": str(tmp_path / "space.json")},
        network, board.id,
    )  # fmt: skip
