"""Networks of all kinds through a whole export: each file computes the evaluated network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from support.exported import export


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(8, 16, 2, batch_first=True), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.gru(x)[0][:, -1])


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(8, 16, bidirectional=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x.transpose(0, 1))[0].mean(0))


class Transformer(nn.Module):
    """Embedding, positions, attention, a class token's kind of readout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.positions = nn.Parameter(torch.randn(1, 10, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.layers, self.fc = nn.TransformerEncoder(layer, 2), nn.Linear(16, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.fc(self.layers(self.embedding(ids) + self.positions)[:, 0])


class TwoHeads(nn.Module):
    """Inputs by name, several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.sensor = nn.Conv2d(3, 8, 3), nn.Linear(4, 8)
        self.box, self.score = nn.Conv2d(8, 4, 1), nn.Linear(8, 3)

    def forward(self, image: Tensor, sensor: Tensor) -> dict[str, object]:
        y = functional.relu(self.image(image) + self.sensor(sensor)[:, :, None, None])
        return {"box": self.box(y), "scores": (self.score(y.mean((2, 3))), y.amax((1, 2, 3)))}


class EqualBiases(nn.Module):
    """Biases that torch's exporter takes for one; 4 bits give each an Add of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        for layer in (self.a, self.b, self.c):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        return torch.cat([self.b(x), self.c(x)], 1).mean((2, 3))


class OwnForms(nn.Module):
    """Operators for which torch's ONNX exporter has no form."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.RMSNorm(5)
        self.c = nn.Conv1d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.channel_shuffle(self.a(x).expm1(), 2)
        y = functional.interpolate(self.b(y), (7, 6), mode="area")
        y = self.norm(functional.adaptive_avg_pool2d(y, (3, 5)))
        return self.c(functional.adaptive_avg_pool1d(y.flatten(2).exp2(), 4))


class Patches(nn.Module):
    """Patches along an axis that is counted from the end, places that follow from differences, and
    a layer whose weight is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x.unfold(-2, 4, 2).to(self.a.weight.dtype)).relu()
        starts = torch.diff(torch.arange(6).div(2).floor(), prepend=torch.zeros(1)) != 0
        y = y * (starts.cumsum(0)[:, None] + 1)
        return self.b(y.diff(dim=1).mean((1, 2)))


class WeightNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.a, self.b = norm(nn.Conv1d(8, 8, 3)), norm(nn.Conv1d(8, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(functional.relu(self.a(x))).mean(2)


CASES = {
    "gru": (Gru, (12, 8)),
    "lstm": (Lstm, (12, 8)),
    "transformer": (Transformer, None),
    "equal biases": (EqualBiases, (3, 8, 8)),
    "own forms": (OwnForms, (3, 10, 12)),
    "patches": (Patches, (12, 6)),
    "weight norm": (WeightNorm, (8, 12)),
}


def agrees(done) -> None:
    assert done.metrics["onnx_reason"] is None
    assert done.metrics["onnx_mismatches"] == 0
    # Integer kernels may round an activation on an edge the other way.
    for simulate, allowed in ((True, 1e-5), (False, 0.03)):
        want, got = done.wanted(), done.outputs(simulate=simulate)
        assert [x.shape for x in got] == [x.shape for x in want]
        for one, other in zip(want, got, strict=True):
            assert np.abs(one - other).max() <= allowed * np.ptp(one)


@pytest.mark.parametrize("name", CASES)
def test_onnx_computes_the_network(name, tmp_path):
    kind, shape = CASES[name]
    torch.manual_seed(0)
    x = torch.randint(0, 20, (24, 10)) if shape is None else torch.randn(24, *shape)
    agrees(export(kind(), x, tmp_path))


def test_inputs_and_outputs_keep_their_names(tmp_path):
    torch.manual_seed(0)
    x = {"image": torch.randn(24, 3, 8, 8), "sensor": torch.randn(24, 4)}
    done = export(TwoHeads(), x, tmp_path)
    agrees(done)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [i.name for i in graph.input] == ["image", "sensor"]
    assert [o.name for o in graph.output] == ["box", "scores.0", "scores.1"]
    assert done.metrics["integer_reason"] == "the network has more than one input"
    assert (tmp_path / "weights.bin").exists()


def test_outputs_that_are_numbered_get_a_name(tmp_path):
    """As the feature maps of torchvision's detectors."""

    class Levels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.a(x)
            return {"0": y, "1": self.b(y)}

    torch.manual_seed(0)
    agrees(export(Levels(), torch.randn(24, 3, 8, 8), tmp_path))
    names = [o.name for o in onnx.load(tmp_path / "model.onnx").graph.output]
    assert names == ["output_0", "output_1"]


def test_one_input_by_name_has_c_too(tmp_path):
    torch.manual_seed(0)
    done = export(AddByName(), {"x": torch.randn(24, *AddByName.shape)}, tmp_path)
    agrees(done)
    assert done.metrics["integer_mismatches"] == 0
    assert (tmp_path / "c" / "model.c").exists()


def test_a_table_that_is_the_last_layer_too(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.inner = nn.Embedding(20, 16), nn.Linear(16, 16)
            self.head = nn.Linear(16, 20, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.inner(self.table(ids)).mean(1))

    torch.manual_seed(0)
    agrees(export(Tied(), torch.randint(0, 20, (24, 6)), tmp_path, bits=(8,)))


def test_matrices_of_recurrent_layers_and_tables_are_stored_as_integers(tmp_path):
    torch.manual_seed(0)
    export(Gru(), torch.randn(24, 12, 8), tmp_path, bits=(4,))
    kinds = {i.name: i.data_type for i in onnx.load(tmp_path / "model.onnx").graph.initializer}
    for part in ("weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"):
        assert kinds[f"gru.module.{part}.int"] == onnx.TensorProto.INT4


def test_a_network_without_an_onnx_form_gets_its_other_files(tmp_path):
    class Median(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x) - x.median(1, keepdim=True)[0])

    done = export(Median(), torch.randn(24, 8), tmp_path)
    assert "median" in done.metrics["onnx_reason"]
    assert done.metrics["onnx_mismatches"] is None
    assert not (tmp_path / "model.onnx").exists()
    assert (tmp_path / "model.pt2").exists()
    assert (tmp_path / "weights.bin").exists()


# ---- public cases: symptoms that users of other projects reported


class Reflect(nn.Module):
    """Tencent/ncnn#5025, microsoft/onnxruntime#6325: reflect padding became zeros."""

    shape, c = (3, 8, 8), "pad with mode='reflect' at 'pad'"

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return self.fc(functional.relu(self.a(x)).mean((2, 3)))


class AddByName(nn.Module):
    """SonySemiconductorSolutions/mct-model-optimization#923: arguments by name were dropped."""

    shape, c = (3, 8, 8), None

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.relu(torch.add(self.a(x), other=self.b(x))).mean((2, 3)))


class TransposedChannels(nn.Module):
    """microsoft/onnxruntime#19694, Xilinx/brevitas#340: the channel axis of transposed layers."""

    shape, c = (3, 8, 8), "operator conv_transpose2d at 'u'"

    def __init__(self) -> None:
        super().__init__()
        self.a, self.u = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 12, 2, 2)
        self.n, self.o = nn.BatchNorm2d(12), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(functional.relu(self.n(self.u(functional.relu(self.a(x))))))


class CeilPools(nn.Module):
    """pytorch/pytorch#183528, PINTO0309/onnx2tf#444: max pools that round their size up."""

    shape, c = (3, 9, 9), None

    def __init__(self) -> None:
        super().__init__()
        self.a, self.p = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True)
        self.q, self.fc = nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Linear(72, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.q(self.p(self.a(x))).flatten(1))


class LargeAverage(nn.Module):
    """ARM-software/ML-KWS-for-MCU#103: average pools of large signed values."""

    shape, c = (3, 9, 9), None

    def __init__(self) -> None:
        super().__init__()
        self.a, self.p = nn.Conv2d(3, 8, 3, padding=1), nn.AvgPool2d((5, 3), (2, 3))
        self.fc = nn.Linear(72, 5)
        self.a.weight.data *= 30

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.p(self.a(x)).flatten(1))


class BigBias(nn.Module):
    """microsoft/onnxruntime#21000: the bias overflows where a channel's scale is tiny."""

    shape, c = (3, 8, 8), None

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)
        self.a.weight.data[2] *= 1e-12
        self.a.bias.data[2] = 3.0

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.relu(self.b(functional.relu(self.a(x)))).mean((2, 3)))


class Tcn(nn.Module):
    """tensorflow/tflite-micro#438: the arena of a dilated causal network, before deployment."""

    shape, c = (3, 32), None

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 3, dilation=2)
        self.c3, self.s = nn.Conv1d(8, 8, 3, dilation=4), nn.Conv1d(3, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.a(functional.pad(x, (2, 0))))
        y = functional.relu(self.b(functional.pad(y, (4, 0))))
        y = functional.relu(self.c3(functional.pad(y, (8, 0))) + self.s(x))
        return self.fc(y.mean(2))


class HardSwishGate(nn.Module):
    """microsoft/onnxruntime#11415: per-channel weights of depthwise layers in default options."""

    shape, c = (3, 8, 8), "operator hardswish at 'hardswish'"

    def __init__(self) -> None:
        super().__init__()
        self.e, self.n1 = nn.Conv2d(3, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.d = nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False)
        self.n2, self.r, self.g = nn.BatchNorm2d(16), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.p, self.fc = nn.Conv2d(16, 8, 1), nn.Linear(8, 5)
        self.d.weight.data[::4] *= 1e-3

    def forward(self, x: Tensor) -> Tensor:
        y = functional.hardswish(self.n2(self.d(functional.hardswish(self.n1(self.e(x))))))
        gate = self.g(functional.relu(self.r(functional.adaptive_avg_pool2d(y, 1))))
        return self.fc(self.p(y * functional.hardsigmoid(gate)).mean((2, 3)))


def settled(model: nn.Module) -> nn.Module:
    """Batch-norm statistics that are no identity, so that a dropped shift is noticed."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return model


@pytest.mark.parametrize(
    "kind",
    [
        Reflect, AddByName, TransposedChannels, CeilPools, LargeAverage, BigBias, Tcn,
        HardSwishGate,
    ],
)  # fmt: skip
def test_public_cases(kind, tmp_path):
    torch.manual_seed(0)
    done = export(settled(kind()), torch.randn(24, *kind.shape), tmp_path, bits=(8,))
    agrees(done)
    assert done.metrics["integer_reason"] == kind.c
    if kind.c is None:
        assert done.metrics["integer_mismatches"] == 0
    if kind is Tcn:
        assert done.metrics["integer_ram_bytes"] == 864


class Named(nn.Module):
    """Layers with the names that graphs like to use themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.output = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.view = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.view(torch.relu(self.first(x))))
        return self.output(x.mean((2, 3)))


def test_layers_may_have_the_names_that_graphs_use(tmp_path):
    torch.manual_seed(0)
    done = export(Named(), torch.randn(24, 3, 8, 8), tmp_path)
    agrees(done)
    assert done.metrics["integer_mismatches"] == 0
