"""Arguments of operators: computed rightly, or refused by name; never left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.export import fold, lower
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.graph_operators import HANDLERS
from evaluators.export.module_graph import IDENTITIES
from evaluators.export.storage import as_stored
from evaluators.export.verify import torch_runner
from evaluators.tracing.operators.registry import operators


class Between(nn.Module):
    """An operator between two convolutions."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(channels, 2, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.function(self.a(x)))


def gap(model: nn.Module, x: Tensor, quantize) -> float:
    """Largest difference of the integer network and the stored one, as a share of the range."""
    net = quantize(model, x, lambda i: (8, 8))
    folded = as_stored(fold(net.model, net.calibration, x[:2]), x[:2], [x])
    want = torch_runner(folded.simulated().eval())((x,))
    got = lower(folded, x[:2], [x])(x.numpy())
    return float(np.abs(want - got).max() / np.ptp(want))


COMPUTED: dict[str, Callable[[Tensor], Tensor]] = {
    "add, other by name": lambda x: torch.add(x.relu(), other=x),
    "cat, dim by name": lambda x: torch.cat(tensors=[x, x.relu()], dim=-3),
    "clamp, min alone": lambda x: x.clamp(min=-0.1),
    "clamp_max": lambda x: torch.clamp_max(x, 0.2),
    "hardtanh by name": lambda x: functional.hardtanh(x, max_val=0.5, min_val=-0.2),
    "in place": lambda x: functional.relu_(x).clamp_(max=0.3),
    "max pool, ceil": lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max pool, by name": lambda x: functional.max_pool2d(x, kernel_size=(2, 3), stride=(1, 2)),
    "max pool with indices": lambda x: functional.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive max pool": lambda x: functional.adaptive_max_pool2d(x, 3),
    "average pool, rest left over": lambda x: functional.avg_pool2d(x, (5, 3), (2, 3)),
    "average pool, ceil that changes nothing": lambda x: functional.avg_pool2d(
        x, 3, ceil_mode=True, count_include_pad=False
    ),
    "mean, by name": lambda x: x.mean(dim=(-1, -2), keepdim=True),
    "largest of the image": lambda x: x.amax((2, 3), keepdim=True),
    "an if on a shape": lambda x: x.relu() if x.shape[-1] > 4 else x,
}


@pytest.mark.parametrize("name", COMPUTED)
def test_what_is_known_is_computed(name, quantize):
    torch.manual_seed(0)
    model = Between(COMPUTED[name], 8 if "cat" in name else 4)
    assert gap(model, torch.randn(32, 3, 9, 9), quantize) < 1e-5


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "add scaled": (lambda x: torch.add(x, other=x, alpha=2), "add with alpha=2 at 'add'"),
    "add broadcast": (lambda x: x + x.mean((2, 3), keepdim=True), "broadcast addition at 'add'"),
    "add a number": (lambda x: x + 1, "constant operand .* at 'add'"),
    "reflect": (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "mode='reflect'"),
    "pad with ones": (lambda x: functional.pad(x, (1, 1), value=1.0), "pad with value=1.0"),
    "pad of channels": (lambda x: functional.pad(x, (0, 0, 0, 0, 0, 0, 1, 1)), "pad with pad="),
    "cat along the width": (lambda x: torch.cat([x, x], 3), "cat with dim=3 at 'cat'"),
    "average over padding": (lambda x: functional.avg_pool2d(x, 3, 1, 1), "padded average"),
    "average over the edge": (
        lambda x: functional.avg_pool2d(x, 2, 2, ceil_mode=True),
        "avg_pool2d with ceil_mode=True",
    ),
    "divisor": (
        lambda x: functional.avg_pool2d(x, 2, divisor_override=3),
        "avg_pool2d with divisor_override=3",
    ),
    "uneven tiles": (lambda x: functional.adaptive_avg_pool2d(x, 4), "of 9x9 to 4x4"),
    "mean over channels": (lambda x: x * 0 + x.mean(1, keepdim=True), "mul|mean with dim"),
    "mean over rows": (lambda x: x.mean(2, keepdim=True), r"mean with dim=\[2\]"),
    "transposed": (lambda x: x.transpose(2, 3), "operator transpose at 'transpose'"),
    "norm along the width": (lambda x: functional.layer_norm(x, (9,)), "operator layer_norm"),
    "softmax of pixels": (lambda x: x.softmax(3), "softmax inside"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name, quantize):
    function, message = REFUSED[name]
    net = quantize(Between(function), torch.randn(8, 3, 9, 9), lambda i: (8, 8))
    folded = fold(net.model, net.calibration, net.x[:2])
    with pytest.raises(UnsupportedNetworkError, match=message):
        lower(folded, net.x[:2])


def test_padding_modes_of_a_layer_are_refused_by_its_name(quantize):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.ReLU())
    net = quantize(model, torch.randn(8, 3, 9, 9), lambda i: (8, 8))
    with pytest.raises(UnsupportedNetworkError, match="pad with mode='circular' at '0'"):
        lower(fold(net.model, net.calibration, net.x[:2]), net.x[:2])


class Same(nn.Conv2d):
    """A convolution that pads itself, as TensorFlow does."""

    def forward(self, x: Tensor) -> Tensor:
        rows = max((-(-x.shape[-1] // 2) - 1) * 2 + 3 - x.shape[-1], 0)
        x = functional.pad(x, (rows // 2, rows - rows // 2, rows // 2, rows - rows // 2))
        return functional.conv2d(x, self.weight, self.bias, self.stride)


def test_a_subclass_that_pads_itself_is_a_layer(quantize):
    torch.manual_seed(0)
    model = nn.Sequential(Same(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert gap(model.eval(), torch.randn(32, 3, 8, 8), quantize) < 1e-5


def test_a_subclass_that_does_more_is_refused(quantize):
    class Scaled(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    net = quantize(nn.Sequential(Scaled(3, 4, 3)), torch.randn(8, 3, 8, 8), lambda i: (8, 8))
    with pytest.raises(UnsupportedNetworkError, match="operator mul"):
        lower(fold(net.model, net.calibration, net.x[:2]), net.x[:2])


def test_the_register_names_what_the_kernels_know():
    listed = {kind for operator in operators() for kind in operator.in_integers}
    assert listed == {*HANDLERS, *IDENTITIES, "conv1d", "conv2d", "linear", "batch_norm"}
