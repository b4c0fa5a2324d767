from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from evaluators.export import fold, lower
from evaluators.export.fixed_point import byte, byte_scaling, requantization, scaling, wide
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.steps import Convolution
from evaluators.export.verify import mismatches, torch_runner

KINDS = ["Residual", "Depthwise", "Branches", "Sequence", "Dense"]
WIDTHS = {
    "w8a8": lambda i: (8, 8),
    "w4a8": lambda i: (4, 8),
    "mixed": lambda i: ((8, 4, 2, 3)[i % 4], (8, 4, 6)[i % 3]),
}


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wide_bits", [16, 32])
def test_integers_follow_the_float_simulation(network, kind, widths, wide_bits):
    net = network(kind, WIDTHS[widths])
    folded = fold(net.model, net.calibration, net.x[:2])
    integer = lower(folded, net.x[:2], [net.x], wide_bits)
    x = (torch.randn(500, *net.x.shape[1:]) * 0.8).numpy()
    want, got = torch_runner(net.model)((x,)), integer(x)
    if kind == "Branches":  # the integer network ends before the log-softmax
        got = functional.log_softmax(torch.from_numpy(got), 1).numpy()
    assert got.shape == want.shape
    if kind != "Dense":
        assert mismatches(want, got, classes=True) <= 5
    off = np.abs(want - got).max(axis=1) / np.ptp(want)
    assert np.median(off) < (1e-5 if wide_bits == 32 else 0.005 if widths == "w8a8" else 0.05)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(2**-40, 1.0),
    st.floats(-30000, 30000),
    st.lists(st.integers(-(2**22), 2**22), min_size=1, max_size=5),
)
def test_requantization_is_within_half_a_step(factor, bias, accumulators):
    largest = np.array([2**22])
    r = requantization(np.array([factor]), np.array([bias]), largest)
    assert 0 <= r.right[0] <= 30
    assert 0 <= r.left[0] <= 31
    assert -(2**31) <= r.bias[0] < 2**31
    got = r(np.array(accumulators)[:, None])[:, 0]
    for acc, value in zip(accumulators, got, strict=True):
        exact = Fraction(factor) * acc + Fraction(bias)
        slack = Fraction(1, 2) + abs(exact) / 2**20 + Fraction(1, 64)
        assert abs(exact - int(value)) <= slack


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=3), st.integers(2**8, 2**16))
def test_scaling_never_leaves_64_bits(factors, largest):
    multipliers, shift = scaling(factors, largest)
    assert all(0 <= m < 2**31 for m in multipliers)
    assert sum(m * largest for m in multipliers) + 2 ** (shift - 1) < 2**63


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-6, 1e7), min_size=1, max_size=2), st.integers(-128, 127))
def test_sums_of_bytes_never_leave_32_bits(factors, zero_point):
    found = byte_scaling(factors)
    if found is None:
        assert sum(factors) > 1e5
        return
    multipliers, shift = found
    most = sum(m * 255 for m in multipliers) + ((abs(zero_point) + 1) << shift)
    assert most + sum(m * 128 for m in multipliers) < 2**31
    # The largest term keeps its sixteenth bit behind the point.
    assert max(multipliers) / 2**shift == pytest.approx(max(factors), abs=2**-12, rel=2**-16)


def test_requantization_saturates_where_a_layer_goes_beyond_all_bounds():
    r = requantization(np.array([1e9]), np.array([-3e12]), np.array([2**20]))
    assert r(np.array([[0]]))[0, 0] < -(2**28)
    r = requantization(np.array([1e9]), np.array([5.0]), np.array([2**20]))
    assert r(np.array([[-(2**20)], [-1], [0], [1], [2**20]]))[:, 0].tolist()[2] == 5
    got = r(np.array([[-(2**20)], [-1], [0], [1], [2**20]]))[:, 0]
    assert (np.abs(got[[0, 1, 3, 4]]) > 255).all()
    assert np.array_equal(np.sign(got), [-1, -1, 1, 1, 1])


def test_a_change_to_the_same_scale_is_the_identity():
    (multiplier,), shift = scaling([1.0], 2**16)
    x = np.arange(-40000, 40000)
    assert np.array_equal((x * multiplier + (1 << (shift - 1))) >> shift, x)


def test_clamps_become_integer_bounds():
    q = byte(0.1, 20, 4)
    assert q.clamped(-np.inf, np.inf) == (-128, -113)
    assert q.clamped(0.0, 6.0) == (-113, -113)  # nothing above zero is left
    assert wide(3.0, 16).clamped(0.0, np.inf) == (0, 32767)


def test_an_accumulator_beyond_int32_is_refused():
    with pytest.raises(ValueError, match="beyond int32"):
        requantization(np.array([1.0]), np.array([0.0]), np.array([2**31]))


def test_layers_of_one_reader_write_its_bytes_directly(network):
    net = network("Residual")
    steps = lower(fold(net.model, net.calibration, net.x[:2]), net.x[:2], [net.x]).steps
    kinds = [(type(s).__name__, s.output.quantization.kind) for s in steps]
    # The sum's operands, and the mean's, are the only wide tensors.
    assert [k for k in kinds[:-1] if k[1] == "int32_t"] == [("Convolution", "int32_t")] * 3
    assert kinds[-1] == ("Convolution", "int32_t")


def test_flattened_images_are_read_in_the_stored_order(network):
    net = network("Branches")
    folded = fold(net.model, net.calibration, net.x[:2])
    step = next(s for s in lower(folded, net.x[:2]).steps if s.name == "last")
    weight = folded.layers["last"].weight.reshape(6, 8, 4, 4).transpose(0, 2, 3, 1)
    assert isinstance(step, Convolution)
    assert np.array_equal(step.weight.reshape(6, -1), weight.reshape(6, -1))


class Unknown(nn.Module):
    def __init__(self, op):
        super().__init__()
        self.c1, self.c2, self.op = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), op

    def forward(self, x):
        return self.c2(self.op(self.c1(x)))


@pytest.mark.parametrize(
    ("op", "names"),
    [
        (nn.Hardswish(), "hardswish at 'op'"),
        (nn.PReLU(), "prelu at 'op'"),
        (nn.BatchNorm2d(4), None),
        (nn.Softmax(dim=1), "softmax inside the network"),
        (nn.AvgPool2d(3, 2, 1), "padded average"),
    ],
)
def test_what_the_kernels_lack_is_named(quantize, op, names):
    net = quantize(Unknown(op), torch.randn(8, 2, 9, 9), lambda i: (8, 8))
    folded = fold(net.model, net.calibration, net.x[:2])
    if names is None:
        lower(folded, net.x)
    else:
        with pytest.raises(UnsupportedNetworkError, match=names):
            lower(folded, net.x)


def test_sixteen_bits_are_refused(network):
    net = network("Dense", lambda i: (16, 8))
    with pytest.raises(UnsupportedNetworkError, match="'a' uses more than 8 bits"):
        lower(fold(net.model, net.calibration, net.x[:2]), net.x)


@pytest.mark.parametrize(
    ("dropped", "message"), [("weight", "keeps float weights"), ("input", "its input in float")]
)
def test_a_layer_in_float_is_refused(network, dropped, message):
    net = network("Residual")
    conv1 = replace(net.calibration["conv1"], **{dropped: None})
    calibration = {**net.calibration, "conv1": conv1}
    if dropped == "input":
        net.model.conv1 = net.model.conv1.module
    with pytest.raises(UnsupportedNetworkError, match=message):
        lower(fold(net.model, calibration, net.x[:2]), net.x)
