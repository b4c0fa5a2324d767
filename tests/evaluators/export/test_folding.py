from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators.compression.fake_quantize import round_affine
from evaluators.compression.quantization import InputQuantization, QuantizedInput
from evaluators.export.folding import fold, strip_quantizers

KINDS = ["Residual", "Depthwise", "Branches", "Sequence", "Dense"]


@pytest.mark.parametrize("kind", KINDS)
def test_folding_changes_nothing_but_float_rounding(network, kind):
    net = network(kind, lambda i: ((8, 4, 2, 3)[i % 4], 8))
    stripped, _ = strip_quantizers(net.model, net.calibration)
    folded = fold(net.model, net.calibration, net.x[:2])
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.plain.modules())
    with torch.no_grad():
        before, after = stripped(net.x), folded.plain(net.x)
    assert (before - after).abs().max() < 2e-5 * before.abs().max()


def test_integers_and_scales_reproduce_the_folded_weights(network):
    net = network("Residual", lambda i: (4, 8))
    folded = fold(net.model, net.calibration, net.x[:2])
    for name, layer in folded.layers.items():
        assert abs(layer.weight).max() <= 7
        assert (layer.scale > 0).all()
        shape = [-1] + [1] * (layer.weight.ndim - 1)
        weight = torch.from_numpy(layer.weight).float() * torch.from_numpy(layer.scale).view(shape)
        assert torch.equal(weight, folded.plain.get_submodule(name).weight)


@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_quantized_input_is_what_training_rounds_to(bits):
    torch.manual_seed(bits)
    x = torch.randn(10_000) * 3
    x = torch.cat([x, torch.arange(-300, 300) * 0.5 * 0.037])  # ties
    q = InputQuantization(0.037, 2**bits // 3, bits)
    want = round_affine(x, q.scale, q.zero_point, q.high)
    assert torch.equal(QuantizedInput(nn.Identity(), q)(x), want)


def test_float_weights_are_refused_by_name(network):
    net = network("Dense")
    with pytest.raises(ValueError, match=r"'a'.*not on their 8-bit grid"):
        fold(net.float_model, net.calibration, net.x[:2])


def test_calibration_of_another_network_is_refused(network):
    net = network("Dense")
    with pytest.raises(ValueError, match=r"'stem\.0'"):
        fold(net.model, network("Residual").calibration, net.x[:2])
    pruned = {**net.calibration, "b": network("Dense").calibration["a"]}
    with pytest.raises(ValueError, match=r"16 output channels but 8 weight scales"):
        fold(net.model, pruned, net.x[:2])


def test_the_given_model_is_left_alone(network):
    net = network("Residual")
    before = {k: v.clone() for k, v in net.model.state_dict().items()}
    fold(net.model, net.calibration, net.x[:2])
    after = net.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_a_norm_behind_a_shared_layer_stays(network):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.n = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.n(self.c(self.c(x)))

    model = Shared().eval()
    folded = fold(model, {}, torch.zeros(2, 4, 3, 3))
    x = torch.randn(2, 4, 3, 3)
    assert isinstance(folded.plain.n, nn.BatchNorm2d)
    assert torch.allclose(folded.plain(x), model(x))


class NormAct(nn.BatchNorm2d):
    """A norm with its activation, as packages have it."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.ReLU6()

    def forward(self, x):
        return self.act(super().forward(x))


class Halved(nn.BatchNorm2d):
    """A norm whose scale isn't the one that it holds."""

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        return nn.functional.batch_norm(x, mean, var, self.weight / 2, self.bias, eps=self.eps)


@pytest.mark.parametrize(("kind", "folds"), [(NormAct, True), (Halved, False)])
def test_a_norm_that_does_more_is_folded_without_loss(kind, folds):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), kind(4), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        for tensor in (*model[1].parameters(), model[1].running_mean, model[1].running_var):
            tensor.uniform_(0.5, 2.0)
    x = torch.randn(2, 3, 9, 9)
    folded = fold(model.eval(), {}, x)
    assert (folded.norms == {"1"}) == folds
    assert not torch.equal(folded.plain[0].weight, model[0].weight) or not folds
    want = model(x)
    assert float((folded.plain(x) - want).abs().max()) < 1e-5 * float(want.max() - want.min())
