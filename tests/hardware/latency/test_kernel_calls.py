"""What runs for operators beside convolutions: nothing is free, nothing is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hardware import Layer, Network, cost_function, estimate, load_device
from hardware.ir.layer import VIEW_OPS
from hardware.latency.cycles import cycles_of
from hardware.latency.kernel_calls import KNOWN_OPS, jobs

MCU = load_device("stm32h7a3")


def layer(op: str, **fields: object) -> Layer:
    shapes = {"in_shape": (6, 8), "out_shape": (6, 8)}
    if op.endswith(("lstm", "gru", "rnn")):
        fields = {"kernel": (1, 1), **fields}
    elif "conv" in op or "depthwise" in op or op in ("pool", "global_pool"):
        fields = {"kernel": (1,), "stride": (1,), "padding": (0,), **fields}
        fields["groups"] = 6 if op.endswith("depthwise") else 1
    return Layer("a", op, ("input",), **(shapes | fields))  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("op", KNOWN_OPS)
@pytest.mark.parametrize(
    "device", [MCU, load_device("gap9"), load_device("ne16")], ids=lambda d: d.id
)
def test_every_operator_takes_time_but_a_view(op: str, device) -> None:
    cycles = cycles_of(layer(op), device.core, device.runtime)
    assert (cycles > 0) == (op not in VIEW_OPS)


def test_a_recurrent_layer_multiplies_all_its_weights_in_each_step() -> None:
    gru = Layer("g", "gru", ("input",), (50, 16), (50, 48), kernel=(2, 2), module="g")
    first, second = 72 * (16 + 24), 72 * (48 + 24)
    assert gru.weights == 2 * (first + second)
    assert gru.macs == 50 * gru.weights
    assert gru.biases == 2 * 4 * 72
    products = [(job, times) for job, times in jobs(gru) if job.kind == "linear"]
    assert sum(j.ic * j.oc * times for j, times in products) == gru.macs
    projected = Layer("l", "lstm", ("input",), (20, 8), (20, 5), kernel=(2, 1, 12), module="l")
    assert projected.matrices == ((48, 8), (48, 5), (5, 12), (48, 5), (48, 5), (5, 12))
    assert projected.biases == 2 * 2 * 48


def test_a_table_and_constants_are_in_flash() -> None:
    table = Layer("e", "embedding", ("input",), (7,), (7, 8), (100,), a_bits=32, module="e",
                  bias=False)  # fmt: skip
    norm = Layer("n", "layernorm", ("e",), (7, 8), (7, 8), bias=False, params=16)
    network = Network([table, norm])
    costs = cost_function(network, MCU)
    requant = MCU.runtime.requant_bytes
    rest = 100 * requant + 8 * bool(requant) + 4 * 16
    assert costs({})["size_kb"] == pytest.approx((800 + rest) / 1024, abs=1e-3)
    assert costs({"e.w_bits": 4})["size_kb"] == pytest.approx((400 + rest) / 1024, abs=1e-3)
    # Positions in it are no activations: four bytes each, and no gene.
    with pytest.raises(ValueError, match=r"e\.a_bits"):
        costs({"e.a_bits": 4})
    assert network.apply({"e.w_bits": 4})[0].a_bits == 32


def test_costs_of_recurrent_layers_are_those_of_the_estimate() -> None:
    gru = Layer("g", "gru", ("input",), (50, 16), (50, 24), kernel=(1, 1), module="g")
    fixed = replace(gru, name="h", op="fixed_gru", inputs=("g",), in_shape=(50, 24), module="")
    network = Network([gru, fixed, Layer("f", "linear", ("h",), (50, 24), (50, 3), module="f")])
    # The state is alive beside the input and the output.
    alone = estimate([gru], MCU).ram_kb * 1024
    assert alone >= 50 * (16 + 24) + 4 * (3 * 24 + 24)
    costs = cost_function(network, MCU)
    for bits in (2, 4, 8):
        params = {"g.w_bits": bits, "f.a_bits": max(bits, 4)}
        assert costs(params) == estimate(network.apply(params), MCU).as_dict()
        assert costs.batch([params]) == [costs(params)]
    assert costs({"g.w_bits": 4})["latency_ms"] > 0
    for gene in ("g.sparsity", "g.w_scheme"):
        with pytest.raises(ValueError, match="names no gene"):
            costs({gene: 0.5})


def test_fixed_weights_cost_as_those_with_genes_do_but_in_floats() -> None:
    plain = Layer("a", "linear", ("input",), (7, 8), (7, 5), bias=False)
    fixed = Layer("a", "fixed_linear", ("input",), (7, 8), (7, 5), bias=False, params=40)
    assert (fixed.macs, fixed.weights, plain.weights) == (plain.macs, 0, 40)
    assert estimate([fixed], MCU).latency_ms == estimate([plain], MCU).latency_ms
    assert estimate([fixed], MCU).size_kb == 4 * 40 / 1024


def test_an_operator_without_a_kernel_is_priced_by_what_it_reads_and_writes() -> None:
    small = layer("opaque")
    wide = layer("opaque", in_shape=(6, 80))
    assert 2 < cycles_of(wide, MCU.core, MCU.runtime) / cycles_of(small, MCU.core, MCU.runtime) < 9
    elements = sum(j.oh * j.ow * j.oc for j, _ in jobs(wide))
    assert elements == math.prod(wide.in_shape) + math.prod(wide.out_shape)
