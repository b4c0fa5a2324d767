"""Weights that are zero or plus or minus a power of two times their channel's scale.

A device without a fast multiplier shifts instead (Miyashita et al., arXiv:1603.01025; Zhou et al.,
arXiv:1702.03044). ``b`` bits hold a sign and an exponent, with one code for zero: ``2**(b-1) - 1``
exponents, of which no more than seven are used, so that every weight is an 8-bit integer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evaluators.compression.fake_quantize import least_error_scale

MOST_EXPONENTS = 7
"""Integers up to 64: what lies below a 128th of the largest weight is zero in 8 bits as well."""

_SHARES = tuple(i / 20 for i in range(11, 28))
"""The largest level is tried at about half to 1.35 of a channel's largest magnitude."""


def largest_integer(bits: int) -> int:
    """The largest level, in steps of the scale."""
    return int(2 ** (min(2 ** (bits - 1) - 1, MOST_EXPONENTS) - 1))


def nearest(steps: Tensor, bits: int) -> Tensor:
    """The nearest level of each weight that is given in steps of its scale.

    ``2**e`` stands for magnitudes from ``0.75 * 2**e`` to ``1.5 * 2**e``; zero for those below one
    half.
    """
    magnitude = steps.abs()
    # frexp gives m * 2**e with m in [0.5, 1).
    exponent = torch.frexp(magnitude / 0.75).exponent - 1
    level = torch.exp2(exponent.clamp(min=0).float()).clamp_(max=largest_integer(bits))
    return torch.where(magnitude < 0.5, torch.zeros_like(level), level).copysign_(steps)


def start_scale(weight: Tensor, bits: int, axis: int) -> Tensor:
    """(C,): the scale of each output channel that rounds its weights with the least squared error.

    Levels are far apart at the top, so the best scale may cut the largest weights or leave room.
    """
    return least_error_scale(
        weight, axis, largest_integer(bits), _SHARES, lambda steps: nearest(steps, bits)
    )


class RoundToPowers(torch.autograd.Function):
    """Weights on their levels; gradients pass straight through, and reach the scale as in LSQ.

    The scale's gradient is that of arXiv:1902.08153 with these levels in place of the integers.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, scale: Tensor, axis: int, bits: int, factor: float
    ) -> Tensor:
        """Rounds (any shape) with one scale (C,) per entry of ``axis``."""
        shape = [-1 if d == axis else 1 for d in range(weight.dim())]
        steps = weight / scale.reshape(shape)
        levels = nearest(steps, bits)
        inside = steps.abs() <= 1.5 * largest_integer(bits)
        ctx.save_for_backward(torch.where(inside, levels - steps, levels), inside)
        ctx.axis, ctx.factor = axis, factor
        return levels * scale.reshape(shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Gradients of the weights and of the scale."""
        change, inside = ctx.saved_tensors
        others = [d for d in range(change.dim()) if d != ctx.axis]
        to_scale = (grads[0] * change).sum(dim=others) * ctx.factor
        return grads[0] * inside, to_scale, None, None, None
