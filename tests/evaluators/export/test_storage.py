"""The network that all files hold: same integers everywhere, and no tensor wider than planned."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evaluators.export import arena, fold, lower, write_onnx
from evaluators.export.steps import AveragePool, Convolution, Sum
from evaluators.export.storage import LARGEST_DENOMINATOR, as_stored, odd_fraction
from evaluators.export.verify import onnx_runner, torch_runner
from hardware import estimate, load_device

KINDS = ["Residual", "Depthwise", "Branches", "Sequence", "Dense"]
WIDTHS = {
    "w8a8": lambda i: (8, 8),
    "mixed": lambda i: ((8, 4, 2, 3)[i % 4], (8, 4, 6)[i % 3]),
}


def stored(net):
    return as_stored(fold(net.model, net.calibration, net.x[:2]), net.x[:2], [net.x])


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_torch_onnx_runtime_and_the_reference_round_alike(network, tmp_path, kind, widths):
    net = network(kind, WIDTHS[widths])
    folded = stored(net)
    write_onnx(folded, (net.x[:2],), tmp_path / "model.onnx")
    # Wider than what was calibrated: every clamp is reached.
    x = (torch.randn(200, *net.x.shape[1:]) * 1.5).numpy()
    want = torch_runner(folded.simulated().eval())((x,))
    others = {s: onnx_runner(tmp_path / "model.onnx", simulate=s)((x,)) for s in (True, False)}
    if kind != "Branches":  # the integer network ends before the log-softmax
        others["integers"] = lower(folded, net.x[:2], [net.x])(x)
    for name, got in others.items():
        # One activation a step off would show as about 1e-3.
        assert np.abs(want - got).max() < 2e-6 * np.ptp(want), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_itself_changes_little(network, kind):
    net = network(kind)
    x = net.x.numpy()
    trained = torch_runner(net.model)((x,))
    final = torch_runner(stored(net).simulated().eval())((x,))
    assert np.abs(trained - final).max() < 0.03 * np.ptp(trained)


ACTIVATIONS = {"a8": (8,), "a4-a8": (4, 8), "a8-a8-a4": (8, 8, 4), "a8-a4-a4": (8, 4, 4)}


@pytest.mark.parametrize("bits", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_arena_is_the_one_that_the_search_counts(network, describe, kind, bits):
    widths = ACTIVATIONS[bits]
    net = network(kind, lambda i: ((8, 4)[i % 2], widths[i % len(widths)]))
    integer = lower(stored(net), net.x[:2], [net.x])
    assert {t.quantization.kind for s in integer.steps for t in s.inputs} == {"int8_t"}
    layers = describe(net.float_model, net.x, net.calibration)
    counted = estimate(layers, load_device("stm32f746"))
    assert arena.plan(integer).size == counted.ram_kb * 1024


def test_accumulators_stay_away_from_ties(network):
    net = network("Residual", WIDTHS["w8a8"])
    for step in lower(stored(net), net.x[:2], [net.x]).steps:
        out = step.output.quantization
        if out.item_bytes != 1:
            continue
        if isinstance(step, Sum):
            a, b = (t.quantization.scale / out.scale for t in step.inputs)
            n = np.arange(-255, 256)
            reals = (a * n[:, None] + b * n[None, :]).reshape(-1)
        elif isinstance(step, AveragePool):
            count = step.window.kernel[0] * step.window.kernel[1]
            reals = np.arange(255 * count) * step.inputs[0].quantization.scale / out.scale / count
        else:
            assert isinstance(step, Convolution)
            r = step.requantization
            n = np.arange(-200_000, 200_000)[:, None]
            reals = n * r.factor + (r.bias / 2.0**r.right - 0.5)
            # Every channel has its own denominator; float32 resolves a step to about 1e-5.
            reals = reals[(np.abs(reals) < 300) & (np.abs(n) < 2.0 ** (31 - r.left))]
        distance = np.abs(np.abs(reals - np.floor(reals)) - 0.5)
        assert distance.min() > 4e-4 * (0.05 if isinstance(step, Convolution) else 1)


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-9, 40.0))
def test_fractions_are_odd_and_close(ratio):
    (p,), (q,) = odd_fraction(np.array([ratio]))
    assert q % 2 == 1
    assert p >= 1
    assert q <= LARGEST_DENOMINATOR or p == 1
    assert abs(p / q / ratio - 1) < 0.01


class Shared(nn.Module):
    """Two layers of different widths and a sum read one tensor."""

    shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.fc((self.a(x) + self.b(x) + x).mean((2, 3)))


@pytest.mark.parametrize("bits", [(8, 8, 8, 8), (8, 8, 4, 8), (8, 4, 4, 8)])
def test_a_tensor_with_several_readers_is_stored_once(quantize, tmp_path, bits):
    torch.manual_seed(3)
    net = quantize(Shared(), torch.randn(64, 3, 8, 8), lambda i: (8, bits[i]))
    folded = stored(net)
    write_onnx(folded, (net.x[:2],), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = {n.output[0]: n.op_type for n in graph.node}
    again = [n for n in graph.node if n.op_type == "QuantizeLinear"
             and kinds.get(n.input[0]) == "DequantizeLinear"]  # fmt: skip
    assert not again, "rounded twice to the same steps"
    x = (torch.randn(300, 3, 8, 8) * 1.5).numpy()
    want = torch_runner(folded.simulated().eval())((x,))
    assert np.abs(want - onnx_runner(tmp_path / "model.onnx")((x,))).max() < 2e-6 * np.ptp(want)
    assert np.abs(want - lower(folded, net.x[:2])(x)).max() < 2e-6 * np.ptp(want)
