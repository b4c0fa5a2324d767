"""Quantization-aware training through NNI's ``QATQuantizer``, with its arithmetic made lean.

Weights are symmetric per output channel, input activations affine per tensor (unsigned, so a
signed input just gets a zero point in the middle). NNI wraps the layers, owns the float weights
and drives the training; the wrapped forward itself is replaced by :class:`LeanForward`, because
the stock one deep-copies its settings several times per call, empties the CUDA cache after every
layer, and its straight-through gradient overwrites a tensor that may be shared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evaluators import lean
from evaluators.candidate import Bits
from evaluators.channels import TRANSPOSED
from evaluators.task import Batches
from evaluators.tracing import eval_mode
from evaluators.training import call

FLOAT_BITS = 32
"""A bit-width that means: leave it in float."""

ACTIVATION_DECAY = 0.95
"""Share of the past in the running activation range, per training step."""

_EPSILON = float(torch.finfo(torch.float32).eps)


class QuantizedInput(nn.Module):
    """A layer with its input rounded to ``bits``: how a finished candidate computes.

    Attributes:
        module: The layer, its weights already on their grid.
        scale: Step of the input.
        zero_point: Integer that stands for 0.0, in [0, 2**bits - 1].
        bits: Width of the unsigned integers.
    """

    def __init__(self, module: nn.Module, scale: float, zero_point: int, bits: int) -> None:
        super().__init__()
        self.module = module
        self.scale, self.zero_point, self.bits = float(scale), int(zero_point), int(bits)

    def forward(self, x: Tensor) -> Any:
        """Rounds the input, then runs the layer."""
        rounded = torch.fake_quantize_per_tensor_affine(
            x, self.scale, self.zero_point, 0, 2**self.bits - 1
        )
        return self.module(rounded)

    def extra_repr(self) -> str:
        """The numbers, for ``print(model)``."""
        return f"scale={self.scale:.6g}, zero_point={self.zero_point}, bits={self.bits}"


class LeanForward:
    """Forward of one wrapped layer: track ranges, round input and weight, run the layer."""

    def __init__(self, wrapper: Any, bits: Bits) -> None:
        self.wrapper, self.module = wrapper, wrapper.module
        self.forward: Callable[..., Any] = wrapper.module_forward
        self.bits = bits
        self.axis = 1 if isinstance(self.module, TRANSPOSED) else 0
        self.track_inputs = False
        self.observed = 0
        self.low = self.high = 0.0
        self.scale, self.zero_point = 1.0, 0
        weight = wrapper.weight
        self.reduced = [d for d in range(weight.dim()) if d != self.axis]
        self.zeros = torch.zeros(weight.shape[self.axis], dtype=torch.int32)

    def __call__(self, x: Tensor, *rest: Any) -> Any:
        """Runs the layer on a rounded input with rounded weights."""
        if self.bits.inputs < FLOAT_BITS:
            if self.track_inputs or self.wrapper.training:
                self._track(x)
            x = torch.fake_quantize_per_tensor_affine(
                x, self.scale, self.zero_point, 0, 2**self.bits.inputs - 1
            )
        if self.bits.weights < FLOAT_BITS:
            # NNI registered the layer's weight as a buffer; the parameter is the wrapper's.
            self.module._buffers["weight"] = self.rounded_weight()
        return self.forward(x, *rest)

    def weight_scale(self) -> Tensor:
        """(C,): largest magnitude of each output channel over the largest integer."""
        limit = 2 ** (self.bits.weights - 1) - 1
        weight: Tensor = self.wrapper.weight.detach()
        scale: Tensor = weight.abs().amax(dim=self.reduced) / limit
        return scale.clamp_(min=_EPSILON)

    def rounded_weight(self) -> Tensor:
        """The weights on their grid, with a straight-through gradient."""
        limit = 2 ** (self.bits.weights - 1) - 1
        return torch.fake_quantize_per_channel_affine(
            self.wrapper.weight, self.weight_scale(), self.zeros, self.axis, -limit, limit
        )

    def _track(self, x: Tensor) -> None:
        low, high = (float(v) for v in x.detach().aminmax())
        if self.observed == 0:
            self.low, self.high = low, high
        elif self.track_inputs:
            # Calibration: plain mean over the batches seen.
            self.low += (low - self.low) / (self.observed + 1)
            self.high += (high - self.high) / (self.observed + 1)
        else:
            self.low += (1 - ACTIVATION_DECAY) * (low - self.low)
            self.high += (1 - ACTIVATION_DECAY) * (high - self.high)
        self.observed += 1
        # Zero must be representable: it is what padding writes.
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        levels = 2**self.bits.inputs - 1
        self.scale = max((high - low) / levels, _EPSILON)
        self.zero_point = min(max(round(-low / self.scale), 0), levels)


class FakeQuantizer:
    """NNI's ``QATQuantizer`` around a model, from wrapping to the finished integer grid.

    Args:
        model: Wrapped in place. The evaluator's optimizer must hold this model's parameters.
        bits: Per module name.
        evaluator: An ``nni.compression.TorchEvaluator``.

    Raises:
        ValueError: Bits that can't be simulated.
    """

    def __init__(self, model: nn.Module, bits: Mapping[str, Bits], evaluator: Any) -> None:
        self.model, self.bits = model, dict(bits)
        self.nni = lean.nni_quantization().QATQuantizer(
            model, quantization_config(model, bits), evaluator
        )
        self.layers = {
            name: LeanForward(wrapper, self.bits[name])
            for name, wrapper in self.nni._module_wrappers.items()
        }
        for name, layer in self.layers.items():
            model.get_submodule(name).forward = layer

    def calibrate(self, batches: Batches, limit: int = 8) -> None:
        """Sets the activation ranges from up to ``limit`` batches, in eval mode."""
        for layer in self.layers.values():
            layer.track_inputs, layer.observed = True, 0
        try:
            with eval_mode(self.model), torch.no_grad():
                for index, (inputs, _) in enumerate(batches):
                    if index >= limit:
                        break
                    call(self.model, inputs)
        finally:
            for layer in self.layers.values():
                layer.track_inputs = False

    def compress(self, epochs: int) -> None:
        """Hands over to NNI, which calls the evaluator's training function."""
        self.nni.compress(None, epochs)

    def unwrap(self) -> None:
        """Gives the model its float weights back. Needed after an error too."""
        if self.nni._is_wrapped:
            for layer in self.layers.values():
                layer.module.__dict__.pop("forward", None)
            self.nni.unwrap_model()
            for layer in self.layers.values():
                # NNI leaves its bound method on the instance, which keeps pickle from working.
                layer.module.__dict__.pop("forward", None)

    def bake(self) -> tuple[nn.Module, dict[str, dict[str, dict[str, Any]]]]:
        """Ends the simulation: weights become their rounded values, inputs get their rounding.

        NNI's ``unwrap_model()`` alone would return the float weights.

        Returns:
            The model, picklable and free of NNI, in eval mode; and the calibration
            ``{layer: {"weight": {"scale": (C,), "bits": b},
            "input": {"scale": s, "zero_point": z, "bits": b}}}``.
        """
        calibration: dict[str, dict[str, dict[str, Any]]] = {}
        rounded: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            entry: dict[str, dict[str, Any]] = {}
            if layer.bits.weights < FLOAT_BITS:
                with torch.no_grad():
                    rounded[name] = layer.rounded_weight().detach().clone()
                entry["weight"] = {"scale": layer.weight_scale(), "bits": layer.bits.weights}
            if layer.bits.inputs < FLOAT_BITS:
                entry["input"] = {
                    "scale": layer.scale,
                    "zero_point": layer.zero_point,
                    "bits": layer.bits.inputs,
                }
            calibration[name] = entry
        self.unwrap()
        for name, weight in rounded.items():
            self.model.get_submodule(name).weight.data.copy_(weight)  # type: ignore[operator]
        for name, entry in calibration.items():
            if "input" in entry:
                parent, _, last = name.rpartition(".")
                owner = self.model.get_submodule(parent)
                wrapped = QuantizedInput(
                    owner.get_submodule(last),
                    entry["input"]["scale"],
                    entry["input"]["zero_point"],
                    entry["input"]["bits"],
                )
                owner._modules[last] = wrapped
        return self.model.eval(), calibration


def quantization_config(model: nn.Module, bits: Mapping[str, Bits]) -> list[dict[str, Any]]:
    """NNI's config list for these bits.

    Raises:
        ValueError: A width below 2: one bit leaves a symmetric integer no step.
    """
    config: list[dict[str, Any]] = []
    for name, b in bits.items():
        if min(b.weights, b.inputs) < 2:
            raise ValueError(f"layer '{name}': {b} can't be trained (2 bits are the least)")
        transposed = isinstance(model.get_submodule(name), TRANSPOSED)
        config.append(
            {
                "op_names": [name],
                "target_names": ["weight"],
                "quant_dtype": f"int{b.weights}",
                "quant_scheme": "symmetric",
                "granularity": "in_channel" if transposed else "out_channel",
            }
        )
        config.append(
            {
                "op_names": [name],
                "target_names": ["_input_"],
                "quant_dtype": f"uint{b.inputs}",
                "quant_scheme": "affine",
                "granularity": "default",
            }
        )
    return config


def strip(model: nn.Module) -> nn.Module:
    """A copy of a finished model without the input rounding; names as before quantization."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedInput):
            parent, _, last = name.rpartition(".")
            model.get_submodule(parent)._modules[last] = module.module
    return model
