"""The arithmetic of quantization-aware training, against torch's own and against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators.compression.decisions import Bits
from evaluators.compression.fake_quantize import (
    StraightThrough,
    affine_grid,
    round_affine,
    round_weights,
    weight_scale,
)
from evaluators.compression.qat import input_ranges, quantization_config
from evaluators.compression.quantization import InputQuantization, QuantizedInput


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.7, 2.2), (-4.0, -1.0)])
def test_rounding_equals_torch(bits: int, low: float, high: float) -> None:
    scale, zero = affine_grid(low, high, bits)
    levels = 2**bits - 1
    x = torch.empty(4000).uniform_(low - 1.0, high + 1.0).requires_grad_()
    want = torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, levels)
    got = StraightThrough.apply(x, scale, zero, levels)
    # Exact ties may fall to either side: torch multiplies by 1/scale, this divides.
    assert ((want - got).abs() > 1e-6).sum() <= 2
    assert len(got.unique()) <= 2**bits
    grad = torch.autograd.grad(got.sum(), x, retain_graph=True)[0]
    expected = torch.autograd.grad(want.sum(), x)[0]
    assert (grad != expected).sum() <= 4
    assert float(round_affine(torch.zeros(1), scale, zero, levels)) == 0.0


def test_gradient_is_not_written_in_place() -> None:
    """NNI's own function zeroes the incoming gradient, which another branch may share."""
    x = torch.tensor([-1.0, 0.5, 9.0], requires_grad=True)
    shared = x * 1.0
    y = StraightThrough.apply(shared, 0.1, 0, 15) + shared
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 1.0]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_take_at_most_two_to_the_bits_levels(bits: int) -> None:
    torch.manual_seed(0)
    for module in (nn.Conv2d(6, 8, 3), nn.Linear(20, 8), nn.ConvTranspose2d(8, 6, 3)):
        axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        rounded = round_weights(module, bits).transpose(0, axis)
        for channel in rounded:
            assert len(channel.unique()) <= 2**bits
        scale = weight_scale(module.weight, bits, axis)
        assert scale.shape == (module.weight.shape[axis],)


@pytest.mark.parametrize("bits", [2, 3])
def test_few_bits_start_from_the_least_error(bits: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 60)
    limit = 2 ** (bits - 1) - 1

    def error(scale: torch.Tensor) -> float:
        steps = (weight / scale[:, None]).round().clamp(-limit, limit)
        return float((steps * scale[:, None] - weight).square().sum())

    found = error(weight_scale(weight, bits, 0))
    assert found < 0.8 * error(weight.abs().amax(dim=1) / limit)
    assert found <= error(2 * weight.abs().mean(dim=1) / limit**0.5)
    # Ternary rounding of a normal variable: its best threshold leaves 19 % of the variance.
    if bits == 2:
        assert found / float(weight.square().sum()) == pytest.approx(0.19, abs=0.04)
    assert weight_scale(torch.zeros(2, 3), bits, 0).gt(0).all()


def test_one_bit_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"layer '0'.*2 bits are the least"):
        quantization_config(model, {"0": Bits(1, 8)}, learned=False)


def test_input_ranges_are_means_over_batches() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 1))
    batches = [(torch.tensor([[0.0, 1.0]]), 0), (torch.tensor([[-2.0, 3.0]]), 0)]
    assert input_ranges(model, ["1"], batches) == {"1": (-1.0, 2.0)}
    wrapped = QuantizedInput(model[1], InputQuantization(*affine_grid(-1.0, 2.0, 8), 8))
    assert "bits=8" in repr(wrapped)
