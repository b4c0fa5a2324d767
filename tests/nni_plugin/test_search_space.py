"""NNI search spaces: parsing, and the space of a network on a device."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest

from ga import Categorical, Integer, Normal, Optimizer, Ordered, Real
from hardware import ChannelGroup, Layer, Network, load_device
from nni_plugin.search_space import for_network, parse

EVERY_TYPE: dict[str, Any] = {
    "conv1.prune": {"_type": "choice", "_value": [0.5, 0.0, 0.25]},
    "batch": {"_type": "choice", "_value": [16, 32, 64]},
    "seed": {"_type": "choice", "_value": [7, 3, 5]},
    "act": {"_type": "choice", "_value": ["relu", "tanh", None, True]},
    "units": {"_type": "randint", "_value": [1, 5]},
    "drop": {"_type": "uniform", "_value": [0.1, 0.6]},
    "mom": {"_type": "quniform", "_value": [0, 1, 0.25]},
    "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
    "wd": {"_type": "qloguniform", "_value": [1, 100, 10]},
    "n": {"_type": "normal", "_value": [0, 1]},
    "qn": {"_type": "qnormal", "_value": [10, 2, 0.5]},
    "ln": {"_type": "lognormal", "_value": [0, 1]},
    "qln": {"_type": "qlognormal", "_value": [3, 1, 5]},
    "opt": {
        "_type": "choice",
        "_value": [
            {"_name": "sgd", "m": {"_type": "uniform", "_value": [0, 1]}},
            {
                "_name": "adam",
                "warm": {
                    "_type": "choice",
                    "_value": [
                        {"_name": "yes", "steps": {"_type": "randint", "_value": [1, 9]}},
                        {"_name": "no"},
                    ],
                },
            },
        ],
    },
}


def test_every_nni_type_becomes_its_gene() -> None:
    genes = {gene.name: gene for gene in parse(EVERY_TYPE).genes}
    assert genes["conv1.prune"] == Ordered("conv1.prune", (0.0, 0.25, 0.5))
    assert genes["batch"] == Ordered("batch", (16, 32, 64))
    assert genes["seed"] == Categorical("seed", (7, 3, 5))
    assert genes["act"] == Categorical("act", ("relu", "tanh", None, True))
    assert genes["units"] == Integer("units", 1, 4)
    assert genes["drop"] == Real("drop", 0.1, 0.6)
    assert genes["mom"] == Real("mom", 0, 1, step=0.25)
    assert genes["lr"] == Real("lr", 1e-4, 1e-1, log=True)
    assert genes["wd"] == Real("wd", 1, 100, log=True, step=10)
    assert genes["n"] == Normal("n", 0, 1)
    assert genes["qln"] == Normal("qln", 3, 1, log=True, step=5)


def test_samples_keep_within_what_nni_documents() -> None:
    space, rng = parse(EVERY_TYPE), random.Random(0)
    seen = set()
    for _ in range(300):
        params = space.decode(space.sample(rng))
        assert params["units"] in (1, 2, 3, 4)
        assert isinstance(params["units"], int)
        assert 0.1 <= params["drop"] <= 0.6
        assert params["mom"] in (0, 0.25, 0.5, 0.75, 1)
        assert 1e-4 <= params["lr"] <= 1e-1
        assert params["wd"] == 1 or params["wd"] % 10 == 0
        assert params["qn"] % 0.5 == 0
        assert params["qln"] % 5 == 0
        assert params["ln"] > 0
        seen.add(repr(params["opt"].keys()) + repr(params["opt"].get("warm", {}).keys()))
    assert len(seen) == 3


def test_our_samples_are_valid_for_nnis_own_code() -> None:
    formatting = pytest.importorskip("nni.common.hpo_utils.formatting")
    # One level of nesting: NNI cannot read back parameters of two (a KeyError in its own code).
    options = [EVERY_TYPE["opt"]["_value"][0], {"_name": "adam"}]
    nni_space = {**EVERY_TYPE, "opt": {"_type": "choice", "_value": options}}
    space, rng = parse(nni_space), random.Random(1)
    theirs = formatting.format_search_space(nni_space)
    for _ in range(50):
        params = space.decode(space.sample(rng))
        params["wd"] = max(params["wd"], 1e-9)
        params["qln"] = max(params["qln"], 1e-9)  # NNI itself cannot read back a zero
        formatted = formatting.format_parameters(params, theirs)
        again = formatting.deformat_parameters(formatted, theirs)
        assert again.keys() == params.keys()
        assert again["opt"].keys() == params["opt"].keys()
        assert again["lr"] == pytest.approx(params["lr"])


def test_a_search_runs_on_every_type_at_once() -> None:
    optimizer = Optimizer(parse(EVERY_TYPE), {"default": "maximize"}, surrogate="none")
    for _ in range(60):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, {"default": -abs(candidate.params["n"])})
    assert optimizer.front()


def test_repeated_values_of_a_choice_are_one() -> None:
    assert parse({"a": {"_type": "choice", "_value": [1, 1.0, 2]}}).cardinality == 2
    assert parse({"a": {"_type": "choice", "_value": [1, True]}}).cardinality == 2


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "no usable gene: it is empty"),
        ([1], "expected a dict"),
        ({"a": {"_type": "choice", "_value": [3]}}, "no usable gene"),
        ({"a": [1, 2]}, r"'a' is \[1, 2\], expected"),
        ({"a": {"_type": "choice"}}, "expected"),
        (
            {"a": {"_type": "prune", "_value": [1]}},
            r"unknown _type 'prune' \(allowed: choice, randint",
        ),
        ({"a": {"_type": ["choice"], "_value": [1, 2]}}, r"unknown _type \['choice'\]"),
        ({"a": {"_type": "choice", "_value": []}}, "expected a non-empty list"),
        ({"a": {"_type": "choice", "_value": "abc"}}, "_value 'abc', expected a non-empty list"),
        ({"a": {"_type": "choice", "_value": [0.1, math.nan]}}, "not finite"),
        ({"a": {"_type": "choice", "_value": [1, 10**400]}}, "not finite"),
        ({"a": {"_type": "choice", "_value": [{"_name": "x"}, 3]}}, "mixes nested choices .* 3"),
        (
            {"a": {"_type": "choice", "_value": [{"_name": "x", "b": 3}, {"_name": "y"}]}},
            "'b' is 3",
        ),
        ({"a": {"_type": "choice", "_value": [{"_name": "x"}, {"_name": "x"}]}}, "lists 'x' twice"),
        ({"a": {"_type": "randint", "_value": [3, 3]}}, "lower < upper"),
        ({"a": {"_type": "randint", "_value": [0.5, 3]}}, "whole numbers"),
        ({"a": {"_type": "randint", "_value": [1]}}, r"expected \[lower, upper\] as numbers"),
        ({"a": {"_type": "uniform", "_value": [1, 0]}}, "low < high"),
        ({"a": {"_type": "uniform", "_value": ["0", 1]}}, "as numbers"),
        ({"a": {"_type": "uniform", "_value": [0, math.inf]}}, "as numbers"),
        ({"a": {"_type": "randint", "_value": [0, 10**400]}}, "as numbers"),
        ({"a": {"_type": "quniform", "_value": [0, 1]}}, r"expected \[low, high, q\]"),
        ({"a": {"_type": "quniform", "_value": [0, 1, 0]}}, "q > 0"),
        ({"a": {"_type": "loguniform", "_value": [0, 1]}}, "low > 0"),
        ({"a": {"_type": "normal", "_value": [0, 0]}}, "sigma > 0"),
        ({"a": {"_type": "qnormal", "_value": [0, 1, -1]}}, "q > 0"),
        ({"a": {"_type": "uniform", "_value": [0, 1, 2]}}, r"expected \[low, high\]"),
    ],
)
def test_bad_search_spaces_are_refused(space: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(space)


# ---- the space of a network


def conv(name: str, source: str, c_in: int, c_out: int) -> Layer:
    return Layer(
        name, "conv", (source,), (c_in, 8, 8), (c_out, 8, 8), (3, 3), (1, 1), (1, 1), module=name
    )


def network(channels: int = 16, **group: Any) -> Network:
    layers = [
        conv("conv1", "input", 3, channels),
        conv("conv2", "conv1", channels, 6),
        Layer("pool", "global_pool", ("conv2",), (6, 8, 8), (6, 1, 1)),
        Layer("flat", "reshape", ("pool",), (6, 1, 1), (6,)),
        Layer("fc", "linear", ("flat",), (6,), (4,), module="fc"),
    ]
    groups = [
        ChannelGroup("conv1", ("conv1",), channels, **group),
        ChannelGroup("conv2", ("conv2",), 6),
        ChannelGroup("fc", ("fc",), 4, prunable=False, reason="the classes"),
    ]
    return Network(layers, groups, name="small")


def device(weight_bits: tuple[int, ...], activation_bits: tuple[int, ...]) -> Any:
    return SimpleNamespace(id="d", weight_bits=weight_bits, activation_bits=activation_bits)


def test_a_network_gets_a_gene_for_each_group_and_layer() -> None:
    space = for_network(network(), device((2, 4, 8), (4, 8)))
    assert list(space) == [
        "conv1.prune", "conv1.w_bits", "conv1.a_bits",
        "conv2.prune", "conv2.w_bits", "conv2.a_bits",
        "fc.w_bits", "fc.a_bits",
    ]  # fmt: skip
    assert space["conv1.prune"]["_value"] == [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
    assert space["fc.w_bits"] == {"_type": "choice", "_value": [2, 4, 8]}
    assert parse(space).groups[0] == (0, 1, 2)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 16, 128, 200])
@pytest.mark.parametrize("step", [1, 2])
def test_every_prune_ratio_leaves_another_number_of_channels(channels: int, step: int) -> None:
    if channels % step:
        pytest.skip("a group holds whole steps")
    net = network(channels, step=step)
    space = for_network(net, device((4, 8), (8,)))
    ratios = space.get("conv1.prune", {"_value": [0.0]})["_value"]
    kept = [net.kept({"conv1.prune": ratio})["conv1"] for ratio in ratios]
    assert kept == sorted(set(kept), reverse=True)
    assert kept[0] == channels
    assert len(ratios) == (14 + 1 if channels >= 128 else len(ratios))


def test_what_has_one_option_is_left_out() -> None:
    space = for_network(network(), device((8,), (8,)))
    assert list(space) == ["conv1.prune", "conv2.prune"]
    assert "conv1.w_bits" in for_network(network(), device((4,), (8,)))


def test_options_narrow_the_space_to_what_the_device_can() -> None:
    space = for_network(network(), device((2, 4, 8), (8,)), max_prune=0.5, weight_bits=[4, 8])
    assert space["conv1.prune"]["_value"][-1] == 0.5
    assert space["conv1.w_bits"]["_value"] == [4, 8]
    with pytest.raises(
        ValueError, match=r"weight_bits=3 is not supported by device 'd' \(allowed: 2, 4, 8\)"
    ):
        for_network(network(), device((2, 4, 8), (8,)), weight_bits=[3])
    with pytest.raises(ValueError, match="max_prune=1"):
        for_network(network(), device((8,), (8,)), max_prune=1)


def test_a_network_without_a_gene_is_refused_with_the_reasons() -> None:
    net = Network(
        [Layer("fc", "linear", ("input",), (6,), (4,), module="fc")],
        [ChannelGroup("fc", ("fc",), 4, prunable=False, reason="the classes")],
        name="tiny",
    )
    with pytest.raises(ValueError, match=r"'tiny' has no usable gene .*fc: the classes"):
        for_network(net, device((8,), (8,)))


def test_shipped_device_and_cost_function_fit_together() -> None:
    from hardware import cost_function

    net, stm = network(), load_device("stm32f746")
    space = parse(for_network(net, stm))
    costs = cost_function(net, stm)
    optimizer = Optimizer(
        space,
        {"accuracy": "maximize", "size_kb": "minimize"},
        {"size_kb": "<= 1"},
        costs,
        phenotype=costs.phenotype,
        surrogate="gp",
    )
    for _ in range(20):
        candidate = optimizer.ask()
        assert candidate.costs is not None
        assert candidate.costs["size_kb"] <= 1
        optimizer.tell(candidate.id, {"accuracy": 0.5, **candidate.costs})


def choice(*values: object) -> dict[str, object]:
    return {"_type": "choice", "_value": list(values)}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"a": choice(1, 10**400)}, "'a' has a value that is not finite, or too large.*: 1000"),
        ({"a": {"_type": "uniform", "_value": [0, 10**400]}}, r"'a' \(uniform\) has _value \[0, 1"),
        ({"a": {"_type": "randint", "_value": [0, 10**400]}}, r"'a' \(randint\) has _value \[0, 1"),
        ({"a": {"_type": "quniform", "_value": [0, 1, 1e-320]}}, "'a': step .* is too small"),
        ({"a": {"_type": "lognormal", "_value": [0, 1e6]}}, "'a' has mu=0.*sigma=1000000"),
        ({3: choice(1, 2)}, "has an entry named 3, expected a non-empty text"),
        ({None: choice(1, 2)}, "has an entry named None"),
    ],
)
def test_what_no_search_can_use_is_named(space: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(space)


def test_a_space_nested_deeper_than_the_stack_is_refused() -> None:
    inner: dict[str, object] = choice(1, 2)
    for _ in range(2000):
        inner = choice({"_name": "n", "k": inner}, {"_name": "m"})
    with pytest.raises(ValueError, match="nested too deep"):
        parse({"a": inner})


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"_type": "randint", "_value": [1, 2, 3]}, id="three bounds"),
        pytest.param({"_type": "randint", "_value": [0.5, 1.5]}, id="broken bounds"),
        pytest.param({"_type": "uniform", "_value": [1, 0]}, id="turned round"),
        pytest.param({"_type": "loguniform", "_value": [0, 1]}, id="log of zero"),
        pytest.param({"_type": "choice", "_value": []}, id="empty"),
        pytest.param({"_type": "layer_choice", "_value": ["a", "b"]}, id="type of NAS"),
        pytest.param({"_type": "choice", "_value": 3}, id="no list"),
        pytest.param(4, id="no dict"),
    ],
)
def test_a_mistake_in_one_entry_names_it(entry: object) -> None:
    with pytest.raises(ValueError, match="gene"):
        parse({"gene": entry, "other": {"_type": "choice", "_value": [1, 2]}})
