"""Costs against closed forms and against the published reference networks."""

from __future__ import annotations

import itertools
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware import (
    Layer,
    Network,
    cost_function,
    device_of,
    duty_cycle_energy_mj,
    estimate,
    flash,
    layer_costs,
    load_device,
    tops_per_watt,
)
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS
from hardware.costs import ram_buffers, scratch_bytes
from hardware.latency.kernel_calls import jobs
from hardware.memory.planner import Buffer, Planner, buffers, liveness_peak, plan
from support.paths import REPOSITORY

SHIPPED = REPOSITORY / "experiment_configs"
NETS = {name: build() for name, build in REFERENCE_NETWORKS.items()}


@pytest.mark.parametrize(
    ("name", "macs", "parameters", "peak", "arena"),
    [
        ("ic", 12_501_632, 77_706, 49_152, 49_152),
        ("vww", 7_489_664, 210_850, 55_296, 73_728),
        ("kws", 2_656_768, 22_604, 16_000, 16_000),
        ("ad", 264_192, 265_864, 768, 768),
    ],
)
def test_reference_networks_to_the_byte(name, macs, parameters, peak, arena):
    net = NETS[name]
    assert sum(x.macs for x in net.layers) == macs
    blocks = buffers(net.layers)
    assert plan(blocks) == arena
    assert liveness_peak(blocks) == peak
    sizes = flash(net.layers, load_device("stm32l4r5"))
    weights, bias = {
        "ic": (77_360, 1_384),
        "vww": (208_112, 10_952),
        "kws": (22_016, 2_352),
        "ad": (264_192, 6_688),
    }[name]
    assert (sizes.weights, sizes.bias) == (weights, bias)
    # The parameters that published tables count hold a bias or the batch-norm shift per channel.
    assert weights + bias // 4 == parameters


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_plan_is_at_least_the_liveness_bound(blocks):
    made = [Buffer(16 * s, min(a, b), max(a, b)) for s, a, b in blocks]
    assert liveness_peak(made) <= plan(made) <= sum(b.size for b in made)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30).flatmap(
        lambda spans: st.tuples(
            st.just([(min(s), max(s)) for s in spans]),
            st.lists(st.integers(1, 90), min_size=len(spans), max_size=len(spans)),
        )
    )
)
def test_planner_with_fixed_lifetimes_plans_the_same(drawn):
    spans, sizes = drawn
    blocks = [Buffer(size, *span) for size, span in zip(sizes, spans, strict=True)]
    assert Planner(spans).place(sizes)[1] == plan(blocks)


def random_params(net, draw):
    params = {}
    for group in net.groups:
        if group.prunable:
            params[f"{group.name}.prune"] = draw(st.sampled_from([0.0, 0.2, 0.45, 0.5, 0.9]))
    for name in net.gene_layers:
        params[f"{name}.w_bits"] = draw(st.sampled_from([2, 4, 8]))
        params[f"{name}.a_bits"] = draw(st.sampled_from([4, 8]))
    return params


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(NETS)))
def test_batch_equals_single_calls_and_pruning_never_costs_more(data, name):
    net = NETS[name]
    costs = cost_function(net, load_device("stm32l4r5"))
    population = [random_params(net, data.draw) for _ in range(3)]
    batch = costs.batch(population)
    assert batch == [costs(params) for params in population]
    full = costs({})
    assert all(b["macs"] <= full["macs"] and b["size_kb"] <= full["size_kb"] for b in batch)


def test_layer_costs_sum_to_the_estimate():
    device = load_device("stm32f746")
    for net in NETS.values():
        rows = layer_costs(net.layers, device)
        total = estimate(net.layers, device)
        assert sum(r["size_kb"] for r in rows) == pytest.approx(total.size_kb)
        assert sum(r["latency_ms"] for r in rows) == pytest.approx(total.latency_ms)
        assert sum(r["macs"] for r in rows) == total.macs
        assert max(r["ram_kb"] for r in rows) <= total.ram_kb + 0.1


def test_scratch_of_cmsis_nn_is_counted():
    device = load_device("stm32l4r5:tvm-cmsis-nn")
    largest = {
        name: max((b.size for b in ram_buffers(net.layers, device) if b not in buffers(net.layers)),
                  default=0)
        for name, net in NETS.items()
    }  # fmt: skip
    # 2,304 and 112 bytes are what CMSIS-NN's own buffer-size functions return.
    assert largest["ic"] == 2304
    assert largest["vww"] == 112
    bare = device.with_stack("tflm")
    assert plan(ram_buffers(NETS["ic"].layers, bare)) == 49_152


def test_sparse_weights_buy_flash_and_cost_time_and_a_buffer():
    device = load_device("stm32l4r5")
    dense = Layer("a", "conv", ("input",), (32, 8, 8), (40, 8, 8), (3, 3), (1, 1), (1, 1))
    sparse = replace(dense, sparsity=0.75)
    assert flash([dense], device).weights == 40 * 288
    # A bit for each weight, and the quarter that is left.
    assert flash([sparse], device).weights == 40 * 288 // 8 + 40 * 288 // 4
    assert scratch_bytes(sparse, device) == scratch_bytes(dense, device) + 8 * 288
    slower = estimate([sparse], device).latency_ms / estimate([dense], device).latency_ms
    assert 1.1 < slower < 1.4
    # A bitmap of weights most of which are there takes more than the weights do: stored plainly.
    assert estimate([replace(dense, sparsity=0.1)], device) == estimate([dense], device)


def test_powers_of_two_are_unpacked_before_they_are_multiplied():
    device = load_device("stm32l4r5")
    plain = Layer("a", "linear", ("input",), (64,), (20,), w_bits=4)
    powers = replace(plain, w_scheme="power_of_two")
    assert flash([powers], device) == flash([plain], device)
    assert scratch_bytes(powers, device) == 8 * 64
    assert estimate([powers], device).latency_ms > estimate([plain], device).latency_ms
    sparse = replace(powers, sparsity=0.75)
    assert flash([sparse], device).weights == 20 * 64 // 8 + 20 * 64 // 4 // 2
    with pytest.raises(ValueError, match="'a': its weights are stored as powers of two"):
        estimate([powers], load_device("mpic"))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "out"),
    [(4, 3, 2, 1, 7), (4, 3, 2, 1, 8), (5, 2, 2, 0, 10), (3, 4, 2, 1, 6), (4, 3, 1, 1, 4),
     (4, 2, 3, 0, 11)],
)  # fmt: skip
def test_transposed_convolution_is_a_convolution_for_each_phase(size, kernel, stride, padding, out):
    x, w = np.arange(1, size + 1), 10 ** np.arange(kernel)
    direct = np.zeros(out, np.int64)
    for i, k in itertools.product(range(size), range(kernel)):
        o = i * stride + k - padding
        if 0 <= o < out:
            direct[o] += x[i] * w[k]
    layer = Layer(
        "t", "conv_transpose", ("input",), (1, 1, size), (1, 1, out), (1, kernel), (1, stride),
        (0, padding),
    )  # fmt: skip
    found = np.zeros(out, np.int64)
    phases = [job for job, _ in jobs(layer)]
    for rest, job in zip(range(min(stride, kernel)), phases, strict=True):
        taps = w[rest::stride][::-1]
        padded = np.pad(x, (job.pads[2], job.pads[3]))
        first = (rest - padding) % stride
        found[first::stride] = [taps @ padded[o : o + job.kw] for o in range(job.ow)]
    assert found.tolist() == direct.tolist()
    assert sum(job.ow for job in phases) == np.count_nonzero(direct)


def test_shared_weights_are_stored_once():
    def pair(second):
        return [
            Layer("a", "linear", ("input",), (32,), (32,), module="a"),
            Layer("b", "linear", ("a",), (32,), (32,), module=second),
        ]

    device = load_device("stm32l4r5")
    assert flash(pair("b"), device).total == 2 * flash(pair("a"), device).total


@pytest.mark.parametrize(("bits", "expected"), [(8, 10 * 33), (4, 10 * 20), (2, 10 * 12)])
def test_packed_rows_fill_whole_words(bits, expected):
    layer = Layer("a", "linear", ("input",), (33,), (10,), w_bits=bits)
    assert flash([layer], load_device("stm32l4r5")).weights == expected


def test_sub_byte_activations_shrink_the_arena():
    net = NETS["kws"]
    costs = cost_function(net, load_device("mpic"))
    params = {f"{name}.a_bits": 4 for name in net.gene_layers}
    # The pool reads eight bits, so one tensor of the last block stays wide.
    assert costs({})["ram_kb"] == 16_000 / 1024
    assert costs(params)["ram_kb"] == round(12_000 / 1024, 3)


def test_bops_are_macs_times_bits():
    net = NETS["ad"]
    costs = cost_function(net, load_device("stm32l4r5"))
    assert costs({})["bops"] == 64 * 264_192
    assert costs({"fc0.w_bits": 4, "fc0.a_bits": 4})["bops"] == 64 * 264_192 - 48 * 640 * 128


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stem.w_bits": 3}, r"weight_bits=3 is not supported by device 'stm32f746'"),
        ({"stem.a_bits": 2}, r"activation_bits=2 .*allowed: 4, 8"),
    ],
)
def test_bits_that_the_device_cannot_run(params, message):
    costs = cost_function(NETS["ic"], load_device("stm32f746"))
    with pytest.raises(ValueError, match=message):
        costs(params)


@pytest.mark.parametrize("device", ["stm32l4r5", "stm32g0b1", "mpic", "ne16", "raspberrypi4"])
def test_operator_without_a_cost_is_named(device):
    layer = Layer("fourier", "fft", ("input",), (8, 8), (8, 8))
    with pytest.raises(ValueError, match=r"'fourier': operator 'fft' has no cost"):
        estimate([layer], load_device(device))
    with pytest.raises(ValueError, match=r"fft"):
        cost_function(Network([layer]), load_device(device))


def random_population(net, n, seed=0):
    rng = random.Random(seed)
    return [
        {f"{g.name}.prune": rng.choice([0.0, 0.25, 0.5, 0.75]) for g in net.groups if g.prunable}
        | {f"{name}.w_bits": rng.choice([2, 4, 8]) for name in net.gene_layers}
        | {f"{name}.a_bits": rng.choice([4, 8]) for name in net.gene_layers}
        for _ in range(n)
    ]


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.network.json")), ids=lambda p: p.name[:-13])
@pytest.mark.parametrize("device", ["stm32l4r5", "stm32l4r5:tflm", "mpic"])
def test_remembered_parts_add_up_to_the_estimate(path, device):
    net = Network.load(path)
    board = device_of(net, load_device(device))
    costs = cost_function(net, board)
    population = random_population(net, 12)
    true = [estimate(net.apply(params), board).as_dict() for params in population]
    assert [costs(params) for params in population] == true
    assert costs.batch(population) == true
    assert cost_function(net, board).batch(population) == true


@pytest.mark.parametrize("name", ["mobilenetv3", "kws"])
def test_optional_genes_cost_what_the_estimate_says(name):
    net = Network.load(SHIPPED / f"{name}.space.network.json")
    board = device_of(net, load_device("stm32l4r5"))
    costs, rng = cost_function(net, board), random.Random(3)
    for params in random_population(net, 12):
        for layer in net.gene_layers:
            params[f"{layer}.w_scheme"] = rng.choice(["uniform", "power_of_two"])
            params[f"{layer}.sparsity"] = rng.choice([0.0, 0.3, 0.75])
        params["pruner"] = rng.choice(["l1", "taylor"])
        factored = params | {f"{layer}.rank": 0.5 for layer in net.rank_layers}
        for one in (params, factored):
            true = estimate(net.apply(one), board).as_dict()
            assert costs(one) == true
            assert costs.batch([one, {}]) == [true, costs({})]
    with pytest.raises(ValueError, match="pruner='best'"):
        costs({"pruner": "best"})
    with pytest.raises(ValueError, match="sparsity=1"):
        costs({f"{net.gene_layers[0]}.sparsity": 1})


MOST_CALLS = 5_300
"""Of Python's functions in a millisecond here; benchmarks/hardware/cost_speed.py takes the time."""


def test_a_chromosome_of_a_large_network_costs_less_than_a_millisecond():
    for name in ("mobilenetv2", "mobilenetv3"):
        net = Network.load(SHIPPED / f"{name}.space.network.json")
        costs = cost_function(net, load_device("stm32l4r5"))
        population = random_population(net, 10)
        costs.batch(population)
        counts = [_calls(costs, params) for params in population]
        assert max(counts) < MOST_CALLS, f"{name}: {max(counts)}"


def _calls(costs, params):
    counted = 0

    def count(frame, event, argument):
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        costs(params)
    finally:
        sys.setprofile(None)
    return counted


def test_values_that_python_holds_equal_are_not_confused():
    costs = cost_function(NETS["kws"], load_device("stm32l4r5"))
    assert costs({"stem.prune": 0}) == costs({"stem.prune": 0.0, "pw0.w_bits": 8.0})
    with pytest.raises(ValueError, match=r"stem\.prune=False"):
        costs({"stem.prune": False})
    with pytest.raises(ValueError, match=r"pw9\.w_bits"):
        costs.batch([{}, {"pw9.w_bits": 8}])
    with pytest.raises(ValueError, match=r"stem\.prune=\[0\]"):
        costs.batch([{}, {"stem.prune": [0]}])
    assert costs.batch([]) == []


def test_duty_cycle_and_efficiency():
    layers = NETS["kws"].layers
    device = replace(load_device("stm32l4r5"), sleep_mw=0.01)
    costs = estimate(layers, device)
    active = device.power_mw * costs.latency_ms / 1000
    expected = active + 0.01 * (1000 - costs.latency_ms) / 1000
    assert duty_cycle_energy_mj(costs, device, 1000) == pytest.approx(expected)
    assert tops_per_watt(costs) == pytest.approx(2 * costs.macs / (active * 1e9))
    with pytest.raises(ValueError, match="shorter than one inference"):
        duty_cycle_energy_mj(costs, device, 1)
    with pytest.raises(ValueError, match="no sleep_mw"):
        duty_cycle_energy_mj(costs, load_device("stm32l4r5"), 1000)
