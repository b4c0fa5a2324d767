"""One weight of a layer that NNI has wrapped: its grid, and how it is rounded in training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from evaluators.compression.decisions import Bits
from evaluators.compression.fake_quantize import (
    EPSILON,
    channel_axis,
    has_learned_scale,
    weight_scale,
)
from evaluators.compression.power_of_two import RoundToPowers, largest_integer, start_scale
from evaluators.compression.quantization import WeightQuantization
from hardware.ir.layer import POWER_OF_TWO


def quantized_weights(module: nn.Module) -> tuple[str, ...]:
    """Names of a module's parameters that its bits are of: ``weight``, or a recurrent layer's."""
    if isinstance(module, nn.RNNBase):
        names = [name for name, _ in module.named_parameters(recurse=False)]
        names += [name for name, _ in module.named_buffers(recurse=False)]
        return tuple(name for name in names if name.startswith("weight_"))
    return ("weight",)


class RoundedWeight:
    """A weight that is rounded at each call of its layer.

    Args:
        wrapper: NNI's, which holds the parameter.
        name: of the parameter in the layer.
        bits: of the layer.
        mask: 0 for weights that stay zero; None: there are none.
    """

    def __init__(self, wrapper: Any, name: str, bits: Bits, mask: Tensor | None = None) -> None:
        self.wrapper, self.name, self.bits, self.mask = wrapper, name, bits, mask
        self.axis = channel_axis(wrapper.module)
        weight = self.parameter
        channels = weight.shape[self.axis]
        self.zeros = torch.zeros(channels, dtype=torch.int32, device=weight.device)
        self.learned = has_learned_scale(bits.weights, bits.scheme)
        self.powers = bits.scheme == POWER_OF_TWO
        self.limit = largest_integer(bits.weights) if self.powers else 2 ** (bits.weights - 1) - 1
        if self.learned:
            # Trained as the largest level, which is of the weights' size: Adam's steps of one
            # learning rate would throw a scale that is a small part of it about.
            self.level.data = self._start_scale() * self.limit
            self.float_zeros = torch.zeros(channels, device=weight.device)
            self.gradient_factor = (weight.numel() / channels * self.limit) ** -0.5

    @property
    def parameter(self) -> Tensor:
        """The float weights."""
        weight: Tensor = getattr(self.wrapper, self.name)
        return weight

    @property
    def level(self) -> nn.Parameter:
        """The largest level, where the scale is learned."""
        level: nn.Parameter = getattr(self.wrapper, f"{self.name}_scale")
        return level

    def scale(self) -> Tensor:
        """(C,): step of each output channel's weights."""
        if self.learned:
            return self._learned_scale().detach()
        return weight_scale(self._weight(), self.bits.weights, self.axis)

    def quantization(self) -> WeightQuantization:
        """What the weights are rounded to now."""
        return WeightQuantization(
            self.scale().cpu(), self.bits.weights, self.bits.scheme, self.bits.zeros
        )

    def rounded(self) -> Tensor:
        """The weights on their grid, with a straight-through gradient."""
        limit = self.limit
        weight = self._weight()
        if self.powers:
            return RoundToPowers.apply(  # type: ignore[no-untyped-call, no-any-return]  # torch doesn't type apply
                weight,
                self._learned_scale(),
                self.axis,
                self.bits.weights,
                self.gradient_factor,
            )
        if self.learned and torch.is_grad_enabled():
            return torch._fake_quantize_learnable_per_channel_affine(
                weight,
                self._learned_scale(),
                self.float_zeros,
                self.axis,
                -limit,
                limit,
                self.gradient_factor,
            )
        return torch.fake_quantize_per_channel_affine(
            weight, self.scale(), self.zeros, self.axis, -limit, limit
        )

    def _weight(self) -> Tensor:
        """The float weights, without those that stay zero."""
        weight = self.parameter
        return weight if self.mask is None else weight * self.mask

    def _learned_scale(self) -> Tensor:
        scale: Tensor = self.level / self.limit
        return scale.clamp(min=EPSILON)

    def _start_scale(self) -> Tensor:
        weight, bits = self._weight().detach(), self.bits.weights
        return (start_scale if self.powers else weight_scale)(weight, bits, self.axis)
