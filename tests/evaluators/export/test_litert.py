from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

pytest.importorskip("ai_edge_litert", reason="the optional package ai-edge-litert is not installed")

from evaluators.export import fold, litert, lower
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.verify import mismatches, torch_runner


def written(net, path):
    folded = fold(net.model, net.calibration)
    network = lower(folded, net.x[:2], [net.x], wide_bits=8)
    litert.write_tflite(network, folded, path)
    return network


@pytest.mark.parametrize("weights", [8, 4])
@pytest.mark.parametrize("kind", ["Residual", "Branches", "Sequence", "Dense"])
def test_litert_follows_the_network(network, tmp_path, kind, weights):
    net = network(kind, lambda i: (weights, 8))
    path = tmp_path / "model.tflite"
    integer = written(net, path)
    x = net.x.numpy()
    reference, got = integer(x), litert.litert_runner(path, integer)((x,))
    step = integer.output.quantization.scale
    # LiteRT rounds twice where the reference rounds once, and its bias to the accumulator.
    assert np.percentile(np.abs(reference - got), 95) <= 3 * step
    want = torch_runner(net.model)((x,))
    if kind == "Branches":
        got = functional.log_softmax(torch.from_numpy(got), 1).numpy()
    assert np.median(np.abs(got - want)) < 0.03 * np.ptp(want)
    if kind != "Dense":
        assert mismatches(want, got, classes=True) <= 6


def test_what_litert_lacks_is_named(network, tmp_path):
    with pytest.raises(UnsupportedNetworkError, match="average pool that is not global at 'pool'"):
        written(network("Depthwise"), tmp_path / "a.tflite")
    with pytest.raises(UnsupportedNetworkError, match="activations below 8 bits"):
        written(network("Dense", lambda i: (8, 4)), tmp_path / "b.tflite")
