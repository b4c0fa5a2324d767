"""Rounding to few bits: grids of weights and activations, and their straight-through gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.compression.submodules import TRANSPOSED
from hardware.ir.layer import POWER_OF_TWO

FLOAT_BITS = 32
"""A bit-width that means: leave it in float."""

LEARNED_BITS = 4
"""Weights of up to so many bits have a learned scale: rounding the range costs them too much."""

_SHARES = tuple(i / 40 for i in range(8, 41))
"""The largest integer is tried at a fifth to the whole of a channel's largest magnitude."""

EPSILON = float(torch.finfo(torch.float32).eps)


def channel_axis(module: nn.Module) -> int:
    """The dimension of a weight that its output channels lie along."""
    return 1 if isinstance(module, TRANSPOSED) else 0


def weight_scale(weight: Tensor, bits: int, axis: int) -> Tensor:
    """(C,): step of each output channel's weights.

    The largest magnitude over the largest integer; for few bits, where the scale is trained, the
    start with the least squared error. NNI starts at a constant 0.01, LSQ (Esser et al.,
    arXiv:1902.08153) at ``2 mean|w| / sqrt(largest integer)``; docs/benchmarks/compression.md
    compares them.
    """
    limit = 2 ** (bits - 1) - 1
    if bits <= LEARNED_BITS:
        return least_error_scale(
            weight, axis, limit, _SHARES, lambda steps: steps.round().clamp_(-limit, limit)
        )
    others = [d for d in range(weight.dim()) if d != axis]
    return weight.detach().abs().amax(dim=others).div_(limit).clamp_(min=EPSILON)


def least_error_scale(
    weight: Tensor,
    axis: int,
    largest: int,
    shares: Sequence[float],
    nearest: Callable[[Tensor], Tensor],
) -> Tensor:
    """(C,): the scale of each output channel that rounds its weights with the least squared error.

    Args:
        weight: any shape.
        axis: of its output channels.
        largest: the largest level, in steps of the scale.
        shares: where that level is tried, in parts of a channel's largest magnitude.
        nearest: the level of each weight (C, n) that is given in steps.
    """
    rows = weight.detach().transpose(0, axis).flatten(1)
    peak = rows.abs().amax(dim=1)
    best = torch.full_like(peak, float("inf"))
    scale = torch.full_like(peak, EPSILON)
    for share in shares:
        tried = (peak * (share / largest)).clamp_(min=EPSILON)
        steps = rows / tried[:, None]
        error = (nearest(steps) * tried[:, None] - rows).square().sum(dim=1)
        scale = torch.where(error < best, tried, scale)
        best = torch.minimum(error, best)
    return scale


def affine_grid(low: float, high: float, bits: int) -> tuple[float, int]:
    """Scale and zero point of unsigned integers that cover a range and hold 0.0 exactly."""
    # Zero must be representable: it is what padding writes.
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**bits - 1
    scale = max((high - low) / levels, EPSILON)
    return scale, min(max(round(-low / scale), 0), levels)


def round_weights(module: nn.Module, bits: int, name: str = "weight") -> Tensor:
    """A layer's weights on the grid of symmetric ``bits``-wide integers, per output channel."""
    axis, limit = channel_axis(module), 2 ** (bits - 1) - 1
    weight = module.get_parameter(name).detach()
    scale = weight_scale(weight, bits, axis)
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, axis, -limit, limit)


def round_affine(x: Tensor, scale: float, zero_point: int, levels: int) -> Tensor:
    """The nearest value that an unsigned integer up to ``levels`` stands for.

    The same as ``torch.fake_quantize_per_tensor_affine``, and as ONNX's QuantizeLinear and
    DequantizeLinear, in four vectorised passes: torch's own kernel takes 7 times as long on CPUs.
    """
    return x.div(scale).round_().clamp_(-zero_point, levels - zero_point).mul_(scale)


class StraightThrough(torch.autograd.Function):
    """:func:`round_affine` whose gradient passes where the value is inside the range."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, zero_point: int, levels: int) -> Tensor:
        """Rounds."""
        ctx.save_for_backward(x)
        ctx.limits = ((-zero_point - 0.5) * scale, (levels - zero_point + 0.5) * scale)
        return round_affine(x, scale, zero_point, levels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of the values inside."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grads[0], x, *ctx.limits), None, None, None


def has_learned_scale(bits: int, scheme: str) -> bool:
    """Whether a layer's weight scale is trained: for few bits, and for powers of two."""
    return bits <= LEARNED_BITS or scheme == POWER_OF_TWO
