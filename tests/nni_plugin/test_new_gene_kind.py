"""A new kind of gene is one file and one registration: everything else learns of it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import evaluators
import ga
import hardware
from ga.problem.uniform_settings import corners
from hardware.ir.gene_kinds import gene_kinds, register, unregister
from nni_plugin.cli.sensitivity import draw, in_space
from nni_plugin.network_space import for_network
from nni_plugin.results.live_page import PageData
from nni_plugin.search_space import parse
from nni_plugin.study.trial_log import TrialLog, is_uniform_int8
from support.bias_gene import BIAS

# The exported C keeps zero points in a bias of every channel: there, leaving it out saves nothing.
STM = hardware.load_device("stm32l4r5:xcubeai-9")
BIAS_KB = 10 * 4 / 1024
"""Ten classes, four bytes each."""


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    register(BIAS)
    yield
    unregister(BIAS.name)


@pytest.fixture(scope="module")
def task() -> evaluators.Task:
    return evaluators.load_task("evaluators.tasks.digits:build")


@pytest.fixture(scope="module")
def network(task: evaluators.Task) -> hardware.Network:
    return evaluators.trace(task)


def test_the_space_offers_it_where_it_is_asked_for(network: hardware.Network) -> None:
    plain, full = for_network(network, STM), for_network(network, STM, extra=["bias"])
    assert full.keys() - plain.keys() == {"fc.bias"}
    assert full["fc.bias"] == {"_type": "choice", "_value": [0, 1]}
    with pytest.raises(ValueError, match=r"unknown .there are: pruner, scheme, .*, bias"):
        for_network(network, STM, extra=["biases"])


def test_the_costs_and_the_phenotype_know_it(network: hardware.Network) -> None:
    costs = hardware.cost_function(network, STM)
    for rest in ({}, {"fc.w_bits": 4}, {"fc.rank": 0.5}):
        kept, gone = costs(rest | {"fc.bias": 1}), costs(rest | {"fc.bias": 0})
        assert kept == costs(rest)
        assert kept["size_kb"] - gone["size_kb"] == pytest.approx(BIAS_KB, abs=2e-3)
        assert costs.phenotype(rest | {"fc.bias": 1}) == costs.phenotype(rest)
        assert costs.phenotype(rest | {"fc.bias": 0}) != costs.phenotype(rest)
    assert costs.batch([{"fc.bias": 0}, {}]) == [costs({"fc.bias": 0}), costs({})]
    with pytest.raises(ValueError, match=r"fc\.bias=2 must be 0"):
        costs({"fc.bias": 2})


def test_the_search_takes_its_traits(network: hardware.Network) -> None:
    space = parse(for_network(network, STM, extra=["bias"]))
    uniform = [space.decode(genome) for genome in corners(space)]
    plain = corners(parse(for_network(network, STM)))
    # Beside the known corners one of its own; among those it is compressed in one.
    assert len(uniform) == len(plain) + 1
    assert [params["fc.bias"] for params in uniform].count(0) == 2
    assert all(params["fc.w_bits"] == 8 for params in uniform[-1:])
    assert uniform[-1]["fc.bias"] == 0


@pytest.mark.parametrize(("cost", "pays"), [("size_kb", True), ("latency_ms", False)])
def test_a_search_asks_for_it_where_it_pays(
    network: hardware.Network, cost: str, pays: bool
) -> None:
    space = parse(for_network(network, STM, extra=["bias"]))
    costs = hardware.cost_function(network, STM)
    search = ga.Optimizer(space, {"accuracy": "maximize", cost: "minimize"}, costs=costs, seed=1)
    tried = set()
    for _ in range(40):
        candidate = search.ask()
        tried.add(candidate.params["fc.bias"])
        accuracy = sum(v for k, v in candidate.params.items() if k.endswith("_bits"))
        search.tell(candidate.id, {"accuracy": float(accuracy), **costs(candidate.params)})
    assert tried == ({0, 1} if pays else {1})


def test_the_sensitivity_table_measures_and_shows_it(
    task: evaluators.Task,
    network: hardware.Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path))
    rows = evaluators.sensitivity(task, device=STM, network=network, ratios=(0.5,))
    [row] = [row for row in rows if row["gene"] == "fc.bias"]
    assert (row["layer"], row["value"]) == ("fc", 0)
    assert row["drop"] == pytest.approx(task.baseline_metric - row["metric"], abs=2e-6)
    assert row["metric"] != task.baseline_metric
    draw(rows, task.metric_name, tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 1000
    # What a rung of the ladder says of it goes into the space; nothing said keeps the bias.
    genes = for_network(network, STM, extra=["bias"])
    assert in_space({"fc.bias": 0}, genes)["fc.bias"] == 0
    assert in_space({}, genes)["fc.bias"] == 1
    assert evaluators.ladder(rows)[-1]["fc.bias"] == 0


def test_the_page_gets_a_row_for_it(tmp_path: Path) -> None:
    data = PageData(TrialLog(tmp_path / "journal.jsonl"))
    kinds = data.space()["kinds"]
    assert [kind["label"] for kind in kinds] == [
        kind.label for kind in gene_kinds() if kind.scope != "network"
    ]
    assert {"name": "bias", "neutral": 1, "strongest": 0}.items() <= kinds[-1].items()
    assert is_uniform_int8({"fc.w_bits": 8, "fc.bias": 1})
    assert not is_uniform_int8({"fc.w_bits": 8, "fc.bias": 0})


def test_the_trial_does_what_the_kind_says(
    task: evaluators.Task, network: hardware.Network
) -> None:
    def trial(params: dict[str, Any]) -> evaluators.Result:
        return evaluators.evaluate(task, params, device=STM, network=network, epochs=0)

    kept, gone = trial({"fc.bias": 1}), trial({"fc.bias": 0})
    assert "fc.bias" not in {name.replace(".module", "") for name in gone.model.state_dict()}
    assert "fc.bias" in {name.replace(".module", "") for name in kept.model.state_dict()}
    assert kept.metrics["size_kb"] - gone.metrics["size_kb"] == pytest.approx(BIAS_KB, abs=2e-3)
    with torch.no_grad():
        outputs = [result.model(task.example_input) for result in (kept, gone)]
    assert not torch.equal(*outputs), "the network is another one"
    # The task's own model is left as it is.
    assert task.model.get_parameter("fc.bias") is not None


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(BIAS)
