"""The networks of MLPerf Tiny go through every way out: with random weights, in short."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from evaluators.export import pte, tflite_files, tflm
from evaluators.export.storage import as_stored
from evaluators.export.verify import onnx_runner
from evaluators.models.autoencoder import Autoencoder
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.mobilenet import MobileNetV1
from evaluators.models.resnet import resnet8
from support.exported import export

NETWORKS = {
    "ResNet-8": (resnet8, (3, 32, 32)),
    "DS-CNN": (DSCNN, (1, 49, 10)),
    "MobileNetV1-0.25": (MobileNetV1, (3, 96, 96)),
    "autoencoder": (Autoencoder, (640,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_mlperf_tiny_goes_through_every_way_out(name, tmp_path):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    done = export(build(), torch.randn(24, *shape), tmp_path, bits=(8, 4))
    metrics = done.metrics
    exact = ("onnx_mismatches", "integer_mismatches", "float_onnx_mismatches")
    assert {key: metrics[key] for key in exact} == dict.fromkeys(exact, 0)
    assert metrics["c_reason"] is None
    assert (metrics["onnx_opset"], metrics["float_onnx_opset"]) == (21, 13)
    assert metrics["free_batch_reason"] is None
    assert (tmp_path / "model_float.pt").exists()
    (want,) = done.wanted()
    (got,) = done.outputs()
    assert np.abs(got - want).max() <= 1e-5 * np.ptp(want)
    # Its float network is near: 4 bits are in its weights too.
    near = onnx_runner(tmp_path / "model_float.onnx")(done.x)
    assert np.median(np.abs(near - want)) < 0.1 * np.ptp(want)
    if metrics["pte_reason"] is None:
        lowered = pte.pte_runner(tmp_path / pte.FILE)(done.x)
        assert np.median(np.abs(lowered - want)) < 0.03 * np.ptp(want)
    elif importlib.util.find_spec("executorch") is not None:
        pytest.fail(metrics["pte_reason"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_its_int4_file_computes_in_tflite_micro_what_its_int8_file_does(name, quantize, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the optional ai-edge-litert is not installed")
    pytest.importorskip("tflite_micro", reason="the optional tflite-micro is not installed")
    from evaluators.export import fold

    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    net = quantize(build(), torch.randn(8, *shape), lambda i: ((8, 4, 2)[i % 3], 8))
    folded = as_stored(fold(net.model, net.calibration, net.x[:2]), net.x[:2], [net.x])
    files = tflite_files.write(folded, net.x[:2], [net.x], tmp_path, None)
    assert (files.reason, files.int4_reason, files.int4_runtime) == (None, None, "tflite-micro")
    assert files.network is not None
    x = net.x[:4].numpy()
    want, got = (
        tflm.tflm_runner(tmp_path / file, files.network)(x)
        for file in (tflite_files.INT8, tflite_files.INT4)
    )
    assert np.array_equal(want, got)
    few = [layer.weight.size for layer in folded.layers.values() if layer.bits <= 4]
    sizes = [(tmp_path / file).stat().st_size for file in (tflite_files.INT8, tflite_files.INT4)]
    assert sizes[0] - sizes[1] >= sum(few) // 2
