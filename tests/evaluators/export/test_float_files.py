from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from evaluators.export import fold
from evaluators.export.float_files import ONNX, PROGRAM, STATE, write_float
from evaluators.export.verify import onnx_runner, torch_runner

ALONE = """
import sys, warnings
warnings.simplefilter("error")
for name in ("nni", "evaluators", "hardware", "ga", "nni_plugin"):
    sys.modules[name] = None
import torch
x, want = torch.load("pair.pt")
state = torch.load("model_float.pt")
module = torch.export.load("model_float.pt2").module()
assert torch.equal(module(x), want)
held = module.state_dict()
assert all(torch.equal(held[name], tensor) for name, tensor in state.items())
"""


@pytest.mark.parametrize("kind", ["Residual", "Depthwise", "Branches", "Sequence", "Dense"])
def test_all_float_files_hold_the_pruned_network(network, tmp_path, kind):
    net = network(kind, lambda i: (4, 8))
    plain = fold(net.model, net.calibration, net.x[:2]).plain
    written = write_float(plain, net.x[:2], tmp_path, {"seed": 3})
    assert (written.opset, written.onnx_reason) == (13, None)
    x = net.x.numpy()
    want = torch_runner(plain)(x)
    assert np.abs(onnx_runner(tmp_path / ONNX)(x) - want).max() < 1e-5 * np.ptp(want)
    # Nothing in it is quantized, and batch norms are gone.
    kinds = {node.op_type for node in onnx.load(tmp_path / ONNX).graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear", "BatchNormalization"}


def test_the_documented_lines_load_the_files_without_a_warning(network, tmp_path):
    net = network("Residual", lambda i: (4, 8))
    plain = fold(net.model, net.calibration, net.x[:1]).plain
    write_float(plain, net.x[:1], tmp_path, {})
    with torch.no_grad():
        torch.save((net.x, plain(net.x)), tmp_path / "pair.pt")
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(torch.load(tmp_path / STATE)) >= {"stem.0.weight", "stem.0.bias", "fc.weight"}


def test_what_onnx_lacks_leaves_the_other_files(tmp_path):
    class Median(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.median(1, keepdim=True)[0]

    written = write_float(Median(), torch.randn(2, 8), tmp_path, {})
    assert "median" in str(written.onnx_reason)
    assert written.opset is None
    assert {path.name for path in tmp_path.iterdir()} == {STATE, PROGRAM}
