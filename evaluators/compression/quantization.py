"""What is known about a quantized layer, and the module that rounds a layer's input.

This is the way from a trial to the export: a finished model, and a :class:`LayerQuantization` for
each of its layers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.compression.submodules import replace_submodule
from hardware.ir.layer import UNIFORM


@dataclass(frozen=True, eq=False)
class WeightQuantization:
    """Symmetric quantization of a layer's weights: they are ``integer * scale`` exactly.

    Attributes:
        scale: (C,), a step per output channel.
        bits: width of the integers.
        scheme: values that they take: one of ``hardware.ir.layer.W_SCHEMES``.
        zeros: weights that are zero by decision; more may be zero after rounding.
    """

    scale: Tensor
    bits: int
    scheme: str = UNIFORM
    zeros: int = 0


@dataclass(frozen=True)
class InputQuantization:
    """Affine quantization of a layer's input: ``real = scale * (q - zero_point)``.

    Attributes:
        scale: the step.
        zero_point: integer that stands for 0.0.
        bits: width of the unsigned integers ``q``, which lie in [0, 2**bits - 1].
    """

    scale: float
    zero_point: int
    bits: int

    @property
    def high(self) -> int:
        """Largest integer of the range."""
        return int(2**self.bits - 1)


@dataclass(frozen=True)
class LayerQuantization:
    """A layer's quantizations; None of what stays in float.

    Attributes:
        weight: of the parameter ``weight``.
        input: of what goes into the layer first.
        matrices: of a recurrent layer's weights, by the parameters' names.
    """

    weight: WeightQuantization | None = None
    input: InputQuantization | None = None
    matrices: tuple[tuple[str, WeightQuantization], ...] = ()


Calibration = Mapping[str, LayerQuantization]
"""By the names of a model's modules."""


class QuantizedInput(nn.Module):
    """A layer with its input rounded to few bits: how a finished candidate computes.

    Divides and rounds half to even in float32, as ONNX's QuantizeLinear and training do.

    Attributes:
        module: the layer, its weights already on their grid.
        scale: step of the input.
        zero_point: integer that stands for 0.0, in [0, 2**bits - 1].
        bits: width of the unsigned integers.
    """

    def __init__(self, module: nn.Module, quantization: InputQuantization) -> None:
        super().__init__()
        self.module = module
        # Plain numbers, as they are in models that were pickled before there was a dataclass.
        self.scale, self.zero_point = float(quantization.scale), int(quantization.zero_point)
        self.bits = int(quantization.bits)

    @property
    def quantization(self) -> InputQuantization:
        """The numbers as one."""
        return InputQuantization(self.scale, self.zero_point, self.bits)

    def forward(self, x: Tensor, *rest: object, **named: object) -> Any:
        """Rounds the first input, then runs the layer."""
        step, low = float(np.float32(self.scale)), -self.zero_point
        steps = torch.clamp(torch.round(x / step), low, low + 2**self.bits - 1)
        return self.module(steps * step, *rest, **named)

    def __getattr__(self, name: str) -> Any:
        """What a model's code asks of its layer: ``weight.dtype``, ``out_features``."""
        try:
            found = super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(super().__getattr__("module"), name)
        return found

    def extra_repr(self) -> str:
        """The numbers, for ``print(model)``."""
        return f"scale={self.scale:.6g}, zero_point={self.zero_point}, bits={self.bits}"


def quantize_input(model: nn.Module, name: str, quantization: InputQuantization) -> None:
    """Puts a layer into a :class:`QuantizedInput`, in place."""
    replace_submodule(model, name, QuantizedInput(model.get_submodule(name), quantization))


def strip(model: nn.Module) -> nn.Module:
    """A copy of a finished model without the input rounding; names as before quantization."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedInput):
            replace_submodule(model, name, module.module)
    return model
