from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from evaluators.export import fold, write_onnx
from evaluators.export.verify import mismatches, onnx_runner, torch_runner

KINDS = ["Residual", "Depthwise", "Branches", "Sequence", "Dense"]
WIDTHS = {
    "w8a8": lambda i: (8, 8),
    "w4a8": lambda i: (4, 8),
    "w2a4": lambda i: (2, 4),
    "w8a16": lambda i: (8, 16),
    "mixed": lambda i: ((8, 4, 2, 3)[i % 4], (8, 4, 6)[i % 3]),
}


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_reproduces_the_network(network, tmp_path, kind, widths):
    net = network(kind, WIDTHS[widths])
    path = tmp_path / "model.onnx"
    write_onnx(fold(net.model, net.calibration, net.x[:2]), (net.x[:2],), path)
    x = (torch.randn(500, *net.x.shape[1:]) * 0.8).numpy()
    want = torch_runner(net.model)((x,))
    got = onnx_runner(path)((x,))
    off = np.abs(want - got).max(axis=1) / np.ptp(want)
    # A float sum in another order moves an activation over a rounding edge now and then.
    if kind != "Dense":
        assert mismatches(want, got, classes=True) <= 5
    assert np.median(off) < 1e-5


@pytest.mark.parametrize("widths", ["w4a8", "w2a4"])
@pytest.mark.parametrize("kind", KINDS)
def test_low_bits_survive_onnx_runtimes_default_options(network, tmp_path, kind, widths):
    # Not asked of 8 bits: without VNNI, ONNX Runtime's u8 x s8 kernels saturate in 16 bits.
    net = network(kind, WIDTHS[widths])
    path = tmp_path / "model.onnx"
    write_onnx(fold(net.model, net.calibration, net.x[:2]), (net.x[:2],), path)
    x = (torch.randn(500, *net.x.shape[1:]) * 0.8).numpy()
    want = torch_runner(net.model)((x,))
    got = onnx_runner(path, simulate=False)((x,))
    if kind != "Dense":
        assert mismatches(want, got, classes=True) <= 5
    assert np.median(np.abs(want - got).max(axis=1)) < 1e-5 * np.ptp(want)


def test_weights_are_stored_as_integers_of_their_width(network, tmp_path):
    net = network("Residual", lambda i: ((8, 4, 2, 3, 16)[i % 5], 8))
    path = tmp_path / "model.onnx"
    folded = fold(net.model, net.calibration, net.x[:2])
    write_onnx(folded, (net.x[:2],), path)
    model = onnx.load(path)
    types = {
        i.name.removesuffix(".module.weight.int"): i.data_type
        for i in model.graph.initializer
        if i.name.endswith(".weight.int")
    }
    tp = onnx.TensorProto
    kinds = {8: tp.UINT8, 4: tp.INT4, 3: tp.INT4, 2: tp.INT4, 16: tp.INT16}
    assert types == {k: kinds[v.bits] for k, v in folded.layers.items()}
    floats = [i for i in model.graph.initializer if i.data_type == tp.FLOAT]
    assert max(np.prod(i.dims) for i in floats) <= 12, "a weight is still there in float"


OPSETS = {"w8a8": 13, "w4a8": 21, "w16a8": 21, "w8a16": 21}


@pytest.mark.parametrize("widths", OPSETS)
@pytest.mark.parametrize("integers", ["uint8", "int8"])
def test_the_opset_is_the_lowest_that_the_types_allow(network, tmp_path, widths, integers):
    weights, inputs = (int(n) for n in widths[1:].split("a"))
    net = network("Depthwise", lambda i: (weights, inputs))
    path = tmp_path / "model.onnx"
    folded = fold(net.model, net.calibration, net.x[:2])
    opset = write_onnx(folded, net.x[:2], path, integers=integers)
    want = 13 if integers == "int8" and widths == "w4a8" else OPSETS[widths]
    model = onnx.load(path)
    assert opset == model.opset_import[0].version == want
    assert model.ir_version == {13: 7, 21: 10}[want]


def test_an_operator_of_a_later_opset_raises_the_opset(quantize, tmp_path):
    class Sampled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            grid = torch.tanh(x[:, :2].permute(0, 2, 3, 1))
            return functional.grid_sample(self.conv(x), grid, align_corners=False)

    net = quantize(Sampled(), torch.randn(8, 3, 6, 6), lambda i: (8, 8))
    folded = fold(net.model, net.calibration, net.x[:2])
    # GridSample came with 16.
    assert write_onnx(folded, net.x[:2], tmp_path / "model.onnx") == 16


@pytest.mark.parametrize("widths", ["w8a8", "mixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_signed_integers_compute_what_unsigned_ones_do(network, tmp_path, kind, widths):
    net = network(kind, WIDTHS[widths])
    folded = fold(net.model, net.calibration, net.x[:2])
    x = net.x.numpy()
    outputs = []
    for integers in ("uint8", "int8"):
        path = tmp_path / f"{integers}.onnx"
        write_onnx(folded, net.x[:2], path, integers=integers)
        outputs.append(onnx_runner(path)(x))
    assert np.array_equal(*outputs)
    graph = onnx.load(path).graph
    types = {i.data_type for i in graph.initializer if i.name.endswith((".int", ".zero"))}
    assert types == {onnx.TensorProto.INT8}
    zeros = [i for i in graph.initializer if i.name.endswith(".zero")]
    assert not any(onnx.numpy_helper.to_array(i).any() for i in zeros)


def test_another_type_of_integers_is_refused(network, tmp_path):
    net = network("Dense")
    folded = fold(net.model, net.calibration, net.x[:2])
    with pytest.raises(ValueError, match=r"are 'int4': choose one of uint8, int8"):
        write_onnx(folded, net.x[:2], tmp_path / "model.onnx", integers="int4")
    assert list(tmp_path.iterdir()) == []


def test_activations_are_clipped_to_their_width(network, tmp_path):
    net = network("Dense", lambda i: (8, 3))
    path = tmp_path / "model.onnx"
    write_onnx(fold(net.model, net.calibration, net.x[:2]), (net.x[:2],), path)
    graph = onnx.load(path).graph
    assert [n.op_type for n in graph.node].count("Clip") == 2
    x = (net.x * 100).numpy()
    want = torch_runner(net.model)((x,))
    assert np.allclose(onnx_runner(path)((x,)), want, atol=1e-4)


def test_outputs_that_are_no_classes_are_compared_by_value():
    a = np.zeros((4, 3), np.float32)
    a[:, 0] = 10
    b = a.copy()
    b[1, 2] = 0.02
    assert mismatches(a, b, classes=True) == 0
    assert mismatches(a, b, classes=False) == 1


@pytest.mark.parametrize("dropped", ["weight", "input"])
def test_layers_that_stay_partly_in_float(network, tmp_path, dropped):
    net = network("Residual")
    conv1 = replace(net.calibration["conv1"], **{dropped: None})
    calibration = {**net.calibration, "conv1": conv1}
    if dropped == "input":
        net.model.conv1 = net.model.conv1.module
    path = tmp_path / "model.onnx"
    write_onnx(fold(net.model, calibration, net.x[:2]), (net.x[:2],), path)
    x = net.x.numpy()
    want = torch_runner(net.model)((x,))
    got = onnx_runner(path)((x,))
    assert np.median(np.abs(want - got).max(axis=1)) < 1e-5 * np.ptp(want)
