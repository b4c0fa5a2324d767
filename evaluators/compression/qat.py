"""Quantization-aware training through NNI's quantizers, with their arithmetic made lean.

Weights are symmetric per output channel. Their scale follows the largest magnitude from 5 bits up
(``QATQuantizer``) and is learned below, as it is for powers of two (``LsqQuantizer``, from the
start with the least error). Input activations are affine per tensor: unsigned, so a signed input
just gets a zero point in the middle. Weights that are to be zero are masked before they are
rounded.

NNI wraps the layers, owns the float weights and drives the training; the wrapped forward itself is
replaced by :class:`LeanForward`, because the stock one deep-copies its settings several times per
call, empties the CUDA cache after every layer, and its straight-through gradient overwrites a
tensor that may be shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evaluators import nni_imports
from evaluators.compression.decisions import Bits
from evaluators.compression.fake_quantize import (
    FLOAT_BITS,
    StraightThrough,
    affine_grid,
    has_learned_scale,
)
from evaluators.compression.low_rank_sparsity import level_masks
from evaluators.compression.quantization import (
    InputQuantization,
    LayerQuantization,
    WeightQuantization,
    quantize_input,
)
from evaluators.compression.rounded_weight import RoundedWeight, quantized_weights
from evaluators.compression.submodules import TRANSPOSED
from evaluators.process_state import eval_mode
from evaluators.task import Batches
from evaluators.training import call

ACTIVATION_DECAY = 0.95
"""Share of the past in the running activation range, per training step."""


def input_ranges(
    model: nn.Module, layers: Iterable[str], batches: Batches, limit: int = 8
) -> dict[str, tuple[float, float]]:
    """Mean lowest and highest input of each layer over up to ``limit`` batches, in eval mode."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    handles = []
    for name, ranges in seen.items():

        def note(
            _: nn.Module, inputs: tuple[Tensor, ...], ranges: list[tuple[float, float]] = ranges
        ) -> None:
            low, high = inputs[0].aminmax()
            ranges.append((float(low), float(high)))

        handles.append(model.get_submodule(name).register_forward_pre_hook(note))
    try:
        with eval_mode(model), torch.no_grad():
            for index, (inputs, _) in enumerate(batches):
                if index >= limit:
                    break
                call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: (sum(r[0] for r in ranges) / len(ranges), sum(r[1] for r in ranges) / len(ranges))
        for name, ranges in seen.items()
    }


class LeanForward:
    """Forward of one wrapped layer: track ranges, round input and weights, run the layer."""

    def __init__(self, wrapper: Any, bits: Bits, mask: Tensor | None = None) -> None:
        self.wrapper, self.module = wrapper, wrapper.module
        self.forward: Callable[..., object] = wrapper.module_forward
        self.bits = bits
        self.track_inputs = False
        self.observed = 0
        self.low = self.high = 0.0
        self.scale, self.zero_point = 1.0, 0
        names = quantized_weights(self.module)
        self.weights = {name: RoundedWeight(wrapper, name, bits, mask) for name in names}

    def __call__(self, x: Tensor, *rest: object, **named: object) -> object:
        """Runs the layer on a rounded input with rounded weights."""
        if self.bits.inputs < FLOAT_BITS:
            if self.track_inputs or self.wrapper.training:
                self._track(x)
            x = StraightThrough.apply(  # type: ignore[no-untyped-call]  # torch doesn't type apply
                x, self.scale, self.zero_point, 2**self.bits.inputs - 1
            )
        if self.bits.weights < FLOAT_BITS:
            # NNI registered the layer's weights as buffers; the parameters are the wrapper's.
            for name, weight in self.weights.items():
                self.module._buffers[name] = weight.rounded()
        return self.forward(x, *rest, **named)

    def quantization(self) -> LayerQuantization:
        """What the layer's weights and inputs are rounded to now."""
        bits, weight, given = self.bits, None, None
        matrices: tuple[tuple[str, WeightQuantization], ...] = ()
        if bits.weights < FLOAT_BITS:
            found = {name: one.quantization() for name, one in self.weights.items()}
            weight = found.pop("weight", None)
            matrices = tuple(found.items())
        if bits.inputs < FLOAT_BITS:
            given = InputQuantization(self.scale, self.zero_point, bits.inputs)
        return LayerQuantization(weight, given, matrices)

    def _track(self, x: Tensor) -> None:
        x = x.detach()
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            # aminmax copies a tensor whose strides aren't in order.
            x = x.permute(0, 2, 3, 1)
        low, high = (float(v) for v in x.aminmax())
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
        self.scale, self.zero_point = affine_grid(self.low, self.high, self.bits.inputs)


class FakeQuantizer:
    """NNI's ``QATQuantizer`` around a model, from wrapping to the finished integer grid.

    Args:
        model: wrapped in place. The evaluator's optimizer must hold this model's parameters.
        bits: per module name. The smallest weights of a layer that is to have zeros become zero.
        evaluator: an ``nni.compression.TorchEvaluator``.

    Raises:
        ValueError: bits that can't be simulated.
    """

    def __init__(self, model: nn.Module, bits: Mapping[str, Bits], evaluator: object) -> None:
        self.model, self.bits = model, dict(bits)
        masks = level_masks(model, {name: b.zeros for name, b in bits.items()})
        quantization = nni_imports.nni_quantization()
        learned = quantization_config(model, bits, learned=True)
        plain = quantization_config(model, bits, learned=False)
        if learned:
            lsq = quantization.LsqQuantizer(model, learned, evaluator)
            # NNI can't add the scales to an optimizer that holds a parameter of the model itself
            # (IndexError on its undotted name); `learned_scales` are added by the caller.
            lsq.patch_optimizer_param_group = dict
            self.nni = quantization.QATQuantizer.from_compressor(lsq, plain)
        else:
            self.nni = quantization.QATQuantizer(model, plain, evaluator)
        self.layers = {
            name: LeanForward(wrapper, self.bits[name], masks.get(name))
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

    def learned_scales(self) -> list[nn.Parameter]:
        """Largest levels to train beside the weights."""
        weights = [one for layer in self.layers.values() for one in layer.weights.values()]
        return [one.level for one in weights if one.learned]

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

    def bake(self) -> tuple[nn.Module, dict[str, LayerQuantization]]:
        """Ends the simulation: weights become their rounded values, inputs get their rounding.

        NNI's ``unwrap_model()`` alone would return the float weights.

        Returns:
            The model, picklable and free of NNI, in eval mode; and what its layers are.
        """
        calibration = {name: layer.quantization() for name, layer in self.layers.items()}
        with torch.no_grad():
            rounded = {
                (name, part): weight.rounded().detach().clone()
                for name, layer in self.layers.items()
                if layer.bits.weights < FLOAT_BITS
                for part, weight in layer.weights.items()
            }
        self.unwrap()
        for (name, part), weight in rounded.items():
            self.model.get_submodule(name).get_parameter(part).data.copy_(weight)
        for name, found in calibration.items():
            if found.input is not None:
                quantize_input(self.model, name, found.input)
        return self.model.eval(), calibration


def quantization_config(
    model: nn.Module, bits: Mapping[str, Bits], *, learned: bool
) -> list[dict[str, object]]:
    """NNI's config list: weights whose scale is learned, or everything else.

    Raises:
        ValueError: a width below 2: one bit leaves a symmetric integer no step.
    """
    config: list[dict[str, object]] = []
    for name, b in bits.items():
        if min(b.weights, b.inputs) < 2:
            raise ValueError(f"layer '{name}': {b} can't be trained (2 bits are the least)")
        module = model.get_submodule(name)
        transposed = isinstance(module, TRANSPOSED)
        names = list(quantized_weights(module))
        nni_imports.register_weights(type(module).__name__, names)
        if has_learned_scale(b.weights, b.scheme) == learned:
            config.append(
                {
                    "op_names": [name],
                    "target_names": names,
                    "quant_dtype": f"int{b.weights}",
                    "quant_scheme": "symmetric",
                    "granularity": "in_channel" if transposed else "out_channel",
                }
            )
        if not learned and not isinstance(module, nn.Embedding):
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
