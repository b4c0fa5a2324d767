"""The optional genes of a network's search space: which layers get them, and that they fit."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ga import Optimizer
from ga.problem.uniform_settings import corners
from hardware import ChannelGroup, Layer, Network, cost_function, flash, load_device
from hardware.ir.gene_kinds.pruner import PRUNERS
from hardware.ir.gene_kinds.registry import LARGE
from nni_plugin.network_space import extra_genes, for_network
from nni_plugin.search_space import parse

STM = load_device("stm32f746")


def net() -> Network:
    def conv(name: str, source: str, i: int, o: int, k: int) -> Layer:
        return Layer(
            name, "conv", (source,), (i, 8, 8), (o, 8, 8), (k, k), (1, 1), (k // 2,) * 2,
            module=name,
        )  # fmt: skip

    layers = [
        conv("first", "input", 3, 48, 3),
        conv("wide", "first", 48, 64, 1),
        conv("square", "wide", 64, 12, 3),
        conv("small", "square", 12, 16, 1),
        Layer("flat", "reshape", ("small",), (16, 8, 8), (1024,)),
        Layer("last", "linear", ("flat",), (1024,), (10,), module="last"),
    ]
    groups = [ChannelGroup(n, (n,), c) for n, c in
              (("first", 48), ("wide", 64), ("square", 12), ("small", 16))]  # fmt: skip
    return Network(layers, groups, name="net")


def test_a_space_has_them_only_if_asked() -> None:
    plain = for_network(net(), STM)
    kinds = {key.rsplit(".", 1)[-1] for key in plain}
    assert kinds == {"prune", "w_bits", "a_bits"}
    full = for_network(net(), STM, extra=extra_genes())
    assert {k: v for k, v in full.items() if k in plain} == plain
    assert full["pruner"]["_value"] == list(PRUNERS)
    assert full["small.w_scheme"]["_value"] == ["uniform", "power_of_two"]
    # Too small for zeros and factors.
    assert net().layer("small").weights < LARGE
    assert "small.sparsity" not in full
    assert "small.rank" not in full
    # A 3x3 convolution has no rank; a 1x1 and a linear one have.
    assert {key for key in full if key.endswith(".rank")} == {"wide.rank", "last.rank"}
    assert full["wide.sparsity"]["_value"] == [0.0, 0.5, 0.75, 0.875]


def test_every_rank_on_offer_saves_bytes() -> None:
    network = net()
    space = for_network(network, STM, extra=["rank"])
    whole = flash(network.layers, STM).total
    for key in ("wide.rank", "last.rank"):
        *shares, full = space[key]["_value"]
        assert full == 1.0
        assert shares
        assert all(flash(network.apply({key: share}), STM).total < whole for share in shares)
        left_out = {i / 8 for i in range(1, 8)} - set(shares)
        assert all(flash(network.apply({key: share}), STM).total >= whole for share in left_out)


def test_first_and_last_layer() -> None:
    space = for_network(net(), STM, first_last=8, extra=extra_genes())
    assert [key for key in space if key.startswith(("first.", "last."))] == ["first.prune"]
    assert space["wide.w_bits"]["_value"] == [2, 4, 8]
    four = for_network(net(), STM, first_last=4)
    assert four["last.w_bits"]["_value"] == [4, 8]
    narrow = for_network(net(), STM, first_last=8, weight_bits=[2, 4])
    assert "last.w_bits" not in narrow
    assert narrow["wide.w_bits"]["_value"] == [2, 4]
    with pytest.raises(ValueError, match=r"first_last=16 is not supported .*allowed: 2, 4, 8"):
        for_network(net(), STM, first_last=16)


@pytest.mark.parametrize(
    ("extra", "device", "message"),
    [
        (["prunner"], "stm32f746", "extra gene 'prunner' is unknown.*pruner, scheme"),
        (["scheme"], "ne16", "extra gene 'scheme': device 'ne16'"),
        (["sparsity"], "ethos-u55", "'sparsity': device 'ethos-u55'.*can neither unpack"),
    ],
)
def test_what_cannot_be_offered_is_refused(extra: list[str], device: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        for_network(net(), load_device(device), extra=extra)


def test_ranks_are_for_any_device() -> None:
    assert "wide.rank" in for_network(net(), load_device("ne16"), extra=["rank"])


def test_the_optimizer_starts_from_corners_that_use_none_of_them() -> None:
    space = parse(for_network(net(), STM, extra=extra_genes()))
    assert len(corners(space)) == len(corners(parse(for_network(net(), STM))))
    for genome in corners(space):
        params = space.decode(genome)
        plain = {
            k: v for k, v in params.items() if k.rsplit(".")[-1] in ("prune", "w_bits", "a_bits")
        }
        assert net().apply(params) == net().apply(plain)


def test_a_search_asks_for_distinct_networks() -> None:
    network = net()
    costs = cost_function(network, STM)
    space = parse(json.loads(json.dumps(for_network(network, STM, extra=extra_genes()))))
    optimizer = Optimizer(
        space, {"accuracy": "maximize", "size_kb": "minimize"}, costs=costs,
        phenotype=costs.phenotype, population_size=8, seed=0,
    )  # fmt: skip
    rng = random.Random(0)
    seen = set()
    for _ in range(16):
        candidate = optimizer.ask()
        seen.add(costs.phenotype(candidate.params))
        optimizer.tell(candidate.id, {"accuracy": rng.random(), **costs(candidate.params)})
    assert len(seen) == 16


def test_channel_multiples_are_part_of_the_network(tmp_path: Path) -> None:
    network = Network(net().layers, net().groups, channel_multiple=8)
    space = for_network(network, STM)
    kept = {network.kept({"first.prune": r})["first"] for r in space["first.prune"]["_value"]}
    assert kept == {8, 16, 24, 32, 40, 48}
    assert network.phenotype({"first.prune": 0.3}) == network.phenotype({"first.prune": 0.35})
    network.save(tmp_path / "n.json")
    assert Network.load(tmp_path / "n.json").channel_multiple == 8
