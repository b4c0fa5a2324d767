"""The optional genes: pruner, weight scheme, sparsity and rank, applied to a network's layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import ChannelGroup, Layer, Network, estimate, load_device
from hardware.ir.gene_kinds.pruner import PRUNERS
from hardware.memory.weight_packing import (
    pack_sparse,
    row_bytes,
    sparse_bytes,
    stored_sparse,
    unpack_sparse,
    weight_bytes,
)
from support.networks import residual_net


def test_old_files_stay_as_they_are():
    text = residual_net().to_json()
    assert "w_scheme" not in text
    assert "sparsity" not in text
    assert Network.from_json(text) == residual_net()


def test_a_layer_keeps_its_options_in_a_file():
    layers = residual_net().apply({"fc.w_scheme": "power_of_two", "fc.sparsity": 0.5})
    again = Network.from_json(Network(layers).to_json())
    assert again.layers == layers
    assert (again.layer("fc").w_scheme, again.layer("fc").sparsity) == ("power_of_two", 0.5)


def test_rank_makes_two_layers_after_pruning():
    layers = {x.name: x for x in residual_net().apply({"a.prune": 0.25, "b.rank": 0.5})}
    first, second = layers["b.0"], layers["b.1"]
    # b has 18 inputs and 16 outputs after pruning: half of the smaller is kept.
    assert (first.in_channels, first.out_channels, first.bias) == (18, 8, False)
    assert (second.in_channels, second.out_channels, second.bias) == (8, 16, True)
    assert second.inputs == ("b.0",)
    assert layers["sum"].inputs == ("relu", "b.1")
    assert (first.module, second.module) == ("b.0", "b.1")
    assert estimate(tuple(layers.values()), load_device("stm32f746")).size_kb > 0


def test_stride_goes_to_the_first_factor():
    layer = Layer("c", "conv", ("input",), (8, 8, 8), (6, 4, 4), (1, 1), (2, 2), module="c")
    first, second = Network([layer]).apply({"c.rank": 0.5})
    assert (first.stride, first.out_shape) == ((2, 2), (3, 4, 4))
    assert (second.stride, second.in_shape, second.out_shape) == ((1, 1), (3, 4, 4), (6, 4, 4))
    assert first.macs + second.macs == 16 * (8 * 3 + 3 * 6)


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ({"a.rank": 0.5}, "names no gene"),
        ({"fc.rank": 0.0}, r"fc.rank=0.0 must be a number in \(0, 1\]"),
        ({"fc.rank": "half"}, "fc.rank='half'"),
        ({"fc.sparsity": 1.0}, r"fc.sparsity=1.0 must be a number in \[0, 1\)"),
        ({"fc.sparsity": True}, "fc.sparsity=True"),
        ({"fc.w_scheme": "ternary"}, "fc.w_scheme='ternary' must be one of uniform, power_of_two"),
        ({"fc.w_scheme": "power_of_two", "fc.w_bits": 16}, "needs weights of 2 to 8 bits, not 16"),
        ({"pruner": "magic"}, "pruner='magic' must be one of l1"),
        ({"conv9.sparsity": 0.5}, "names no gene"),
    ],
)
def test_bad_genes_are_refused_before_a_trial(genes, message):
    net = residual_net()
    with pytest.raises(ValueError, match=message):
        net.apply(genes)
    with pytest.raises(ValueError, match=message):
        net.phenotype(genes)


def test_chromosomes_of_one_network_are_one():
    same = residual_net().phenotype
    plain = same({})
    assert same({"pruner": "l2"}) == plain
    assert same({"fc.rank": 1.0, "fc.sparsity": 0.0, "fc.w_scheme": "uniform"}) == plain
    # 0.96 of 10 ranks is all ten; one zero in 1,000 of 160 weights is none.
    assert same({"fc.rank": 0.96, "fc.sparsity": 0.001}) == plain
    assert same({"fc.w_scheme": "power_of_two", "fc.w_bits": 2}) == same({"fc.w_bits": 2})
    assert same({"fc.rank": 0.5}) == same({"fc.rank": 0.52})
    assert same({"fc.sparsity": 0.5}) == same({"fc.sparsity": 0.501})
    cut = {"a.prune": 0.5}
    assert same(cut | {"pruner": "l1"}) != same(cut | {"pruner": "l2"})
    # Too small a ratio to remove a channel chooses none.
    assert same({"a.prune": 0.01, "pruner": "l1"}) == plain
    different = [
        {}, {"fc.rank": 0.5}, {"fc.rank": 0.3}, {"fc.sparsity": 0.5}, {"b.sparsity": 0.5},
        {"fc.w_scheme": "power_of_two"}, {"b.w_scheme": "power_of_two"}, cut,
        *(cut | {"pruner": p} for p in PRUNERS),
    ]  # fmt: skip
    assert len({same(genes) for genes in different}) == len(different)


def test_sparse_weights_take_the_smaller_form():
    net = residual_net()

    def stored(sparsity: float, bits: int) -> Layer:
        (layer,) = (x for x in net.apply({"a.sparsity": sparsity, "a.w_bits": bits})
                    if x.name == "a")  # fmt: skip
        return layer

    rows, n = 24, 16 * 9
    dense = stored(0.05, 8)
    assert (weight_bytes(dense), stored_sparse(dense)) == (rows * n, False)
    half = stored(0.5, 8)
    assert half.zeros == rows * n // 2
    assert (weight_bytes(half), stored_sparse(half)) == (rows * 20 + rows * n // 2, True)
    assert weight_bytes(stored(0.75, 4)) == rows * 20 + rows * n // 8
    assert not stored_sparse(stored(0.25, 2))


@given(
    st.integers(1, 6), st.integers(1, 70), st.sampled_from((2, 4, 8)), st.floats(0, 0.99),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_sparse_weights_come_back(rows, n, bits, share, seed):
    rng = np.random.default_rng(seed)
    limit = 2 ** (bits - 1) - 1
    weights = rng.integers(-limit, limit + 1, (rows, n))
    weights[rng.random((rows, n)) < share] = 0
    zeros = int((weights == 0).sum()) // 2
    data = pack_sparse(weights, zeros, bits)
    assert len(data) == sparse_bytes(rows, n, zeros, bits)
    assert np.array_equal(unpack_sparse(data, rows, n, bits), weights)
    with pytest.raises(ValueError, match="do not hold"):
        unpack_sparse(data[: rows * row_bytes(n, 1) - 1], rows, n, bits)


def test_too_few_zeros_are_noticed():
    with pytest.raises(ValueError, match="1 weights are zero, 2 should be"):
        pack_sparse(np.array([[1, 0, 3]]), 2, 4)


@pytest.mark.parametrize(("kept", "op", "groups"), [(1, "conv", 1), (4, "depthwise", 4)])
def test_what_is_left_of_a_depthwise_layer_says_how_it_is_stored(kept, op, groups):
    layers = [
        Layer("a", "conv", ("input",), (3, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), module="a"),
        Layer(
            "b", "depthwise", ("a",), (8, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), 8, module="b"
        ),
    ]
    net = Network(layers, [ChannelGroup("a", ("a", "b"), 8)])
    last = net.apply({"a.prune": 1 - kept / 8, "b.w_bits": 2})[1]
    assert (last.op, last.groups) == (op, groups)
    # Nine taps in one row of words, or a word for each tap.
    assert weight_bytes(last) == (4 if kept == 1 else 9 * 4)


def test_a_grouped_convolution_may_end_as_a_depthwise_one():
    layers = [
        Layer("a", "conv", ("input",), (3, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), module="a"),
        Layer("b", "conv", ("a",), (8, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), 4, module="b"),
    ]
    groups = [ChannelGroup("a", ("a",), 8, 4), ChannelGroup("b", ("b",), 8, 4)]
    assert Network(layers, groups).apply({"a.prune": 0.5, "b.prune": 0.5})[1].op == "depthwise"
