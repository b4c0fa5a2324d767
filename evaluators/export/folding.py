"""From the evaluated network to integer weights: exact batch-norm folding.

A weight quantized per output channel, symmetrically, is `q * scale[c]`.  A batch-norm behind it
multiplies channel `c` by `g = gamma / sqrt(var + eps)`, so the folded weight is
`(q * sign(g)) * (scale[c] * |g|)`: the same integers with another scale, nothing is rounded twice
(Jacob et al., CVPR 2018, section 3.2, fold before quantization instead; here the order is the
other way round, which is why it is exact).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from evaluators.compression.power_of_two import largest_integer
from evaluators.compression.quantization import (
    Calibration,
    InputQuantization,
    LayerQuantization,
    QuantizedInput,
    WeightQuantization,
    quantize_input,
    strip,
)
from evaluators.compression.submodules import replace_submodule
from hardware.ir.layer import POWER_OF_TWO, UNIFORM

CHANNEL_DIM: dict[type[nn.Module], int] = {
    nn.Conv1d: 0,
    nn.Conv2d: 0,
    nn.Linear: 0,
    nn.ConvTranspose1d: 1,
    nn.ConvTranspose2d: 1,
}
"""Layers whose weights are packed -> dimension of the output channels in the weight."""

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_GRID_TOLERANCE = 2e-3
_SMALLEST_SCALE = 1e-30


@dataclass(frozen=True)
class QuantizedLayer:
    """Integer weights of one module after folding.

    Attributes:
        name: qualified name of the module.
        weight: integers in the module's own weight shape, int8 (int16 above 8 bits).
        scale: float32 `[C]`, `real = weight * scale` along `channel_dim`.
        bits: bit-width that was trained.
        bias: float32 `[C]`, None if the module has none after folding.
        channel_dim: dimension of the output channels in `weight`.
        input: quantization of the module's input, None if it is read in float.
        scheme: values of the integers: one of `hardware.ir.layer.W_SCHEMES`.
        zeros: weights that are zero by decision; more may be zero after rounding.
    """

    name: str
    weight: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    scale: npt.NDArray[np.float32]
    bits: int
    bias: npt.NDArray[np.float32] | None
    channel_dim: int
    input: InputQuantization | None
    scheme: str = UNIFORM
    zeros: int = 0

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return len(self.scale)

    @property
    def integer_bits(self) -> int:
        """Width that holds the integers as they are, for runtimes that know no codes of powers."""
        if self.scheme == UNIFORM:
            return self.bits
        return max(self.bits, largest_integer(self.bits).bit_length() + 1)


class _LeafTracer(torch.fx.Tracer):
    """Traces through everything but torch.nn's own modules and input quantizers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, QuantizedInput) or super().is_leaf_module(m, module_qualified_name)


def trace_module(model: nn.Module) -> torch.fx.GraphModule:
    """Returns the fx graph of `model`, with `QuantizedInput` kept as one node."""
    return torch.fx.GraphModule(model, _LeafTracer().trace(model))


@dataclass(frozen=True)
class FoldedModel:
    """A network ready to be written.

    Attributes:
        plain: float module, batch-norm folded, weights = dequantized integers, no quantizers.
        layers: module name -> integers, in the module order of the network.
        inputs: module name -> quantization of its input; also of modules with float weights.
    """

    plain: nn.Module
    layers: dict[str, QuantizedLayer]
    inputs: dict[str, InputQuantization]

    def simulated(self) -> nn.Module:
        """Copy of `plain` whose quantized inputs are fake-quantized."""
        model = copy.deepcopy(self.plain)
        for name, quantization in self.inputs.items():
            quantize_input(model, name, quantization)
        return model


def strip_quantizers(
    model: nn.Module, calibration: Calibration
) -> tuple[nn.Module, dict[str, InputQuantization]]:
    """Returns a copy of `model` without input quantizers, and what they were.

    Raises:
        ValueError: `calibration` names a module that `model` does not have or that is no
            convolution or linear layer: it belongs to another network.
    """
    model = strip(model).eval()
    for name in calibration:
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            raise ValueError(
                f"calibration names layer {name!r}, which the model does not have: "
                "export the model together with the calibration of the same evaluation"
            ) from error
        if not isinstance(module, tuple(CHANNEL_DIM)):
            raise ValueError(
                f"calibration names {name!r}, a {type(module).__name__}; "
                f"exportable layers are {', '.join(k.__name__ for k in CHANNEL_DIM)}"
            )
    return model, {name: x.input for name, x in calibration.items() if x.input is not None}


def fold(model: nn.Module, calibration: Calibration) -> FoldedModel:
    """Folds batch-norms of an evaluated network and recovers its integer weights.

    Args:
        model: `Result.model`: quantized weights written in, batch-norm unfolded.
        calibration: `Result.calibration`; what it lacks of a layer stays in float.

    Raises:
        ValueError: a weight is off its quantization grid, or the two belong to different networks.
    """
    plain, inputs = strip_quantizers(model, calibration)
    norms = _foldable_norms(plain)
    layers: dict[str, QuantizedLayer] = {}
    for name, module in list(plain.named_modules()):
        if isinstance(module, tuple(CHANNEL_DIM)):
            target = calibration.get(name, LayerQuantization()).weight
            layer = _fold_layer(plain, name, target, norms.get(name), inputs.get(name))
            if layer is not None:
                layers[name] = layer
    return FoldedModel(plain, layers, inputs)


def _fold_layer(
    plain: nn.Module,
    name: str,
    target: WeightQuantization | None,
    norm: str | None,
    given: InputQuantization | None,
) -> QuantizedLayer | None:
    """Folds the batch-norm behind one layer, in place; None of a layer with float weights."""
    module = plain.get_submodule(name)
    dim = next(d for k, d in CHANNEL_DIM.items() if isinstance(module, k))
    weight = module.get_parameter("weight").detach().double()
    shape = [-1 if d == dim else 1 for d in range(weight.dim())]
    channels = weight.shape[dim]
    q, scale = (None, torch.ones(channels).double())
    if target is not None:
        q, scale = _integers(name, weight, target, shape)
        weight = q * scale.reshape(shape)
    bias = module.bias.detach().double() if isinstance(module.bias, torch.Tensor) else None
    if norm is not None:
        gain, bias = _fold_terms(plain.get_submodule(norm), bias, channels)
        replace_submodule(plain, norm, nn.Identity())
        weight = weight * gain.reshape(shape)
        if q is not None:
            q = q * gain.sign().reshape(shape)
            # A channel that the norm silences keeps a scale of ordinary size.
            scale = torch.where(gain == 0, scale, scale * gain.abs())
    if q is not None:
        # One float32 product, as DequantizeLinear computes it.
        weight = (q.float() * scale.float().reshape(shape)).double()
    module.weight = nn.Parameter(weight.float(), requires_grad=False)
    kept = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)
    module.register_parameter("bias", kept)
    if q is None or target is None:
        return None
    return QuantizedLayer(
        name,
        q.to(torch.int8 if target.bits <= 8 else torch.int16).numpy(),
        scale.float().numpy(),
        target.bits,
        None if bias is None else bias.float().numpy(),
        dim,
        given,
        target.scheme,
        target.zeros,
    )


def _integers(
    name: str, weight: torch.Tensor, target: WeightQuantization, shape: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    scale = target.scale.double().reshape(-1)
    channels = weight.shape[shape.index(-1)]
    if scale.numel() not in (1, channels):
        raise ValueError(
            f"layer {name!r} has {channels} output channels but {scale.numel()} weight scales: "
            "the calibration is of another candidate"
        )
    scale = scale.expand(channels).clamp(min=_SMALLEST_SCALE)
    bits = target.bits
    exact = weight / scale.reshape(shape)
    q = exact.round()
    powers = target.scheme == POWER_OF_TWO
    limit = largest_integer(bits) if powers else 2 ** (bits - 1) - 1
    worst = float((exact - q).abs().max()) if q.numel() else 0.0
    if worst > _GRID_TOLERANCE or float(q.abs().max()) > limit:
        raise ValueError(
            f"weights of layer {name!r} are not on their {bits}-bit grid (off by {worst:.3g} "
            f"steps, largest integer {int(q.abs().max())}, allowed {limit}): pass the network with "
            "its quantized weights written in, as `evaluate` returns it"
        )
    return q, scale


def _fold_terms(
    norm: nn.Module, bias: torch.Tensor | None, channels: int
) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(norm, _BATCH_NORMS)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    gamma = norm.weight.detach().double() if norm.affine else torch.ones(channels).double()
    beta = norm.bias.detach().double() if norm.affine else torch.zeros(channels).double()
    gain = gamma / (var.double() + norm.eps).sqrt()
    offset = bias if bias is not None else torch.zeros(channels).double()
    return gain, (offset - mean.double()) * gain + beta


def _foldable_norms(model: nn.Module) -> dict[str, str]:
    """Layer -> batch-norm that reads nothing but this layer's only call."""
    modules = dict(model.named_modules())
    nodes = [n for n in trace_module(model).graph.nodes if n.op == "call_module"]
    calls: dict[str, int] = {}
    for node in nodes:
        calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    found: dict[str, str] = {}
    for node in nodes:
        norm = modules[str(node.target)]
        if not isinstance(norm, _BATCH_NORMS) or norm.running_mean is None:
            continue
        source = node.args[0]
        if (
            isinstance(source, torch.fx.Node)
            and source.op == "call_module"
            and isinstance(modules[str(source.target)], tuple(CHANNEL_DIM))
            and len(source.users) == 1
            and calls[str(source.target)] == calls[str(node.target)] == 1
            # A grouped transposed convolution shares one weight column among its groups.
            and norm.num_features == _weight_channels(modules[str(source.target)])
        ):
            found[str(source.target)] = str(node.target)
    return found


def _weight_channels(module: nn.Module) -> int:
    dim = next(d for k, d in CHANNEL_DIM.items() if isinstance(module, k))
    return int(module.get_parameter("weight").shape[dim])
