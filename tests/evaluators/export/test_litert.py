from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

pytest.importorskip("ai_edge_litert", reason="the optional package ai-edge-litert is not installed")

from evaluators.compression.quantization import InputQuantization
from evaluators.export import fold, litert, lower, tflm
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.verify import mismatches, torch_runner


def written(net, path, **options):
    folded = fold(net.model, net.calibration, net.x[:2])
    network = lower(folded, net.x[:2], [net.x], wide_bits=8)
    litert.write_tflite(network, folded, path, **options)
    return network


def weight_types(path):
    """Names of the types of a file's weights."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    names = {v: k for k, v in vars(schema.TensorType).items()}
    tensors = model.subgraphs[0].tensors
    return [names[t.type] for t in tensors if t.name.endswith(b".weight")]


@pytest.mark.parametrize("weights", [8, 4])
@pytest.mark.parametrize("kind", ["Residual", "Depthwise", "Branches", "Sequence", "Dense"])
def test_litert_follows_the_network(network, tmp_path, kind, weights):
    net = network(kind, lambda i: (weights, 8))
    path = tmp_path / "model.tflite"
    integer = written(net, path)
    x = net.x.numpy()
    reference, got = integer(x), litert.litert_runner(path, integer)((x,))
    step = integer.outputs[0].tensor.quantization.scale
    # LiteRT rounds twice where the reference rounds once, and its bias to the accumulator.
    assert np.percentile(np.abs(reference - got), 95) <= 3 * step
    want = torch_runner(net.model)((x,))
    if kind == "Branches":
        got = functional.log_softmax(torch.from_numpy(got), 1).numpy()
    assert np.median(np.abs(got - want)) < 0.03 * np.ptp(want)
    if kind != "Dense":
        assert mismatches(want, got, classes=True) <= 6


class Thin(nn.Module):
    """A depthwise and a grouped layer, and a dense one behind a flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.grouped = nn.Conv2d(6, 8, 3, groups=2)
        self.fc = nn.Linear(8 * 2 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.stem(x))))
        return self.fc(torch.relu(self.grouped(x)).flatten(1))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_tflite_micro_computes_the_same_with_int4_weights(quantize, tmp_path, bits):
    pytest.importorskip("tflite_micro", reason="the optional package tflite-micro is not installed")
    torch.manual_seed(bits)
    # An odd number of weights in the depthwise layer's rows and in the dense one.
    net = quantize(Thin(), torch.randn(40, 3, 7, 9), lambda i: (bits, 8))
    wide, narrow = tmp_path / "a.tflite", tmp_path / "b.tflite"
    integer = written(net, wide)
    written(net, narrow, four_bits=True)
    assert weight_types(wide) == ["INT8"] * 4
    # No kernel of CMSIS-NN has groups of int4.
    assert weight_types(narrow) == ["INT4", "INT4", "INT8", "INT4"]
    x = net.x.numpy()
    want, got = (tflm.tflm_runner(path, integer)(x) for path in (wide, narrow))
    assert np.array_equal(want, got)
    assert np.ptp(got) > 0
    # LiteRT has kernels of its own for both.
    steps = (litert.litert_runner(narrow, integer)(x) - got) / integer.outputs[
        0
    ].tensor.quantization.scale
    assert np.percentile(np.abs(steps), 95) <= 3
    assert narrow.stat().st_size < wide.stat().st_size


class Corner(nn.Module):
    """Means of windows, then of a window that leaves a row and a column out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mid = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 6, 1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(functional.avg_pool2d(self.stem(x), 2))
        return self.fc(functional.avg_pool2d(torch.relu(self.mid(x)), (3, 2)).flatten(1))


@pytest.mark.parametrize("four_bits", [False, True])
def test_means_of_windows_are_rounded_once(quantize, tmp_path, four_bits):
    pytest.importorskip("tflite_micro", reason="the optional package tflite-micro is not installed")
    torch.manual_seed(1)
    net = quantize(Corner(), 20 * torch.randn(40, 2, 11, 9), lambda i: (4, 8))
    # The reader's range ends above 6, so that the clamp at 6 is of the first mean itself.
    given = InputQuantization(0.05, 0, 8)
    net.calibration["mid"] = replace(net.calibration["mid"], input=given)
    net.model.mid.scale, net.model.mid.zero_point = given.scale, given.zero_point
    path = tmp_path / "model.tflite"
    integer = written(net, path, four_bits=four_bits)
    assert integer.steps[1].bounds == (-128, -8)
    x = net.x.numpy()
    assert integer.run_integers(integer.quantize_input(x)).std() > 1
    for runner in (tflm.tflm_runner, litert.litert_runner):
        steps = (runner(path, integer)(x) - integer(x)) / integer.outputs[
            0
        ].tensor.quantization.scale
        assert np.percentile(np.abs(steps), 95) <= 3


def test_int4_weights_are_refused_where_there_are_none(network, tmp_path):
    with pytest.raises(UnsupportedNetworkError, match="no layer has weights of 4 bits or fewer"):
        written(network("Dense"), tmp_path / "a.tflite", four_bits=True)
    assert list(tmp_path.iterdir()) == []


def test_tflite_micro_refuses_int4_in_a_fully_connected_layer_with_a_scale_per_channel(
    network, tmp_path
):
    pytest.importorskip("tflite_micro", reason="the optional package tflite-micro is not installed")
    path = tmp_path / "a.tflite"
    integer = written(network("Dense"), path)
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    for tensor in model.subgraphs[0].tensors:
        if tensor.name.endswith(b".weight"):
            tensor.type = schema.TensorType.INT4
    builder = Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    # That is why such a layer is written as a convolution.
    with pytest.raises(UnsupportedNetworkError, match=r"tflite-micro refuses a\.tflite"):
        tflm.tflm_runner(path, integer)


def test_what_litert_lacks_is_named(network, tmp_path):
    with pytest.raises(UnsupportedNetworkError, match="activations below 8 bits"):
        written(network("Dense", lambda i: (8, 4)), tmp_path / "b.tflite")
