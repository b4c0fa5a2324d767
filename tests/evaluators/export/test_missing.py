"""Which files will be missing is known before the search."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.export import export_model, missing_files
from support.quantized import NETWORKS


class Between(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.function(self.norm(self.a(x))))


X = torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize("kind", NETWORKS)
def test_nothing_is_missing_of_networks_that_have_all_files(kind):
    model = NETWORKS[kind]().eval()
    assert missing_files(model, torch.randn(2, *model.shape)).keys() <= {"tflite"}


def test_the_layer_and_the_argument_are_named():
    found = missing_files(Between(functional.hardswish), X)
    assert found == dict.fromkeys(("c", "tflite"), "operator hardswish at 'hardswish'")
    reflect = missing_files(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()), X
    )
    assert reflect["c"] == "pad with mode='reflect' at '0'"


def test_operators_without_an_onnx_form_are_named():
    found = missing_files(Between(lambda x: x - x.median(1, keepdim=True)[0]), X)
    assert found["onnx"] == "operator median at 'median'"


def test_what_is_said_is_what_the_export_says(quantize, tmp_path):
    for function in (functional.hardswish, lambda x: functional.avg_pool2d(x, 3, 1, 1)):
        said = missing_files(Between(function), X)
        net = quantize(Between(function), torch.randn(8, 3, 8, 8), lambda i: (8, 8))
        metrics = export_model(
            net.model, net.calibration, (), net.x, [(net.x, torch.zeros(8))], tmp_path,
            metric=lambda outputs, targets: 0.0,
        )  # fmt: skip
        assert metrics["integer_reason"] == said["c"]
        assert metrics["onnx_reason"] is None
        assert "onnx" not in said


@pytest.mark.parametrize(
    ("layers", "missing"),
    [
        (1, {"tflite": "operator gru at 'gru'"}),
        (2, dict.fromkeys(("c", "tflite"), "gru with num_layers=2 at 'gru'")),
    ],
)
def test_a_gru_of_one_layer_has_c(layers, missing):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.fc = nn.GRU(8, 4, layers, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.gru(x)[0][:, -1])

    assert missing_files(Net(), torch.randn(2, 6, 8)) == missing
