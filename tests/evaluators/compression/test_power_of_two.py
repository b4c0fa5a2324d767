"""Weights on powers of two: levels, scales and gradients, against what can be counted by hand."""

from __future__ import annotations

import pytest
import torch

from evaluators.compression.power_of_two import RoundToPowers, largest_integer, nearest, start_scale


@pytest.mark.parametrize(("bits", "largest"), [(3, 4), (4, 64), (5, 64), (8, 64)])
def test_levels_are_the_nearest_powers(bits: int, largest: int) -> None:
    levels = [0.0] + [float(2**e) for e in range(7) if 2**e <= largest]
    levels += [-v for v in levels[1:]]
    assert largest_integer(bits) == largest
    x = torch.empty(20_000).uniform_(-1.4 * largest, 1.4 * largest)
    x = torch.cat([x, x / 32])
    distance = (x[:, None] - torch.tensor(levels)).abs()
    assert torch.allclose((nearest(x, bits) - x).abs(), distance.min(dim=1).values)
    assert set(nearest(x, bits).tolist()) == set(levels)


def test_zero_stays_zero() -> None:
    assert nearest(torch.zeros(3), 4).tolist() == [0.0] * 3
    assert start_scale(torch.zeros(2, 5), 4, 0).isfinite().all()


def test_the_start_scale_is_the_best_of_those_tried() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 40)
    scale = start_scale(weight, 4, 0)

    def error(s: torch.Tensor) -> torch.Tensor:
        return (nearest(weight / s[:, None], 4) * s[:, None] - weight).square().sum(1)

    naive = weight.abs().amax(dim=1) / 64
    assert (error(scale) <= error(naive) + 1e-6).all()
    assert float(error(scale).sum()) < 0.95 * float(error(naive).sum())
    exact = 2.0 ** torch.randint(-6, 1, (3, 30)) * 0.7
    exact[:, 0] = 0.7
    assert float(start_scale(exact, 4, 0)[0] * 64) == pytest.approx(0.7, rel=0.5)


def test_a_transposed_weight_has_its_scales_along_its_own_axis() -> None:
    weight = torch.randn(3, 5, 2, 2)
    swapped = start_scale(weight.transpose(0, 1), 4, 0)
    assert torch.equal(start_scale(weight, 4, 1), swapped)


def test_gradients() -> None:
    weight = torch.tensor([[0.9, -3.1, 500.0]], requires_grad=True)
    scale = torch.tensor([1.0], requires_grad=True)
    rounded = RoundToPowers.apply(weight, scale, 0, 4, 0.5)
    assert rounded.tolist() == [[1.0, -4.0, 64.0]]
    rounded.backward(torch.tensor([[1.0, 2.0, 3.0]]))
    # What lies far outside stands still, and pulls the scale.
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 2.0, 0.0]]
    want = 0.5 * (1.0 * 0.1 + 2.0 * -0.9 + 3.0 * 64.0)
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(want, rel=1e-5)
