"""From the evaluated network to integer weights: exact batch-norm folding.

A weight quantized per output channel, symmetrically, is `q * scale[c]`.  A batch-norm behind it
multiplies channel `c` by `g = gamma / sqrt(var + eps)`, so the folded weight is
`(q * sign(g)) * (scale[c] * |g|)`: the same integers with another scale, nothing is rounded twice
(Jacob et al., CVPR 2018, section 3.2, fold before quantization instead; here the order is the
other way round, which is why it is exact).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from evaluators.compression.power_of_two import largest_integer
from evaluators.compression.quantization import (
    Calibration,
    InputQuantization,
    LayerQuantization,
    WeightQuantization,
    quantize_input,
    strip,
)
from evaluators.export.batch_norms import (
    BATCH_NORM_KINDS,
    fold_terms,
    is_own_norm,
    silence,
)
from evaluators.pytree import call
from evaluators.tracing.program import Operation, Program, read_program
from hardware.ir.layer import POWER_OF_TWO, UNIFORM

CHANNEL_DIM: dict[type[nn.Module], int] = {
    nn.Conv1d: 0,
    nn.Conv2d: 0,
    nn.Linear: 0,
    nn.ConvTranspose1d: 1,
    nn.ConvTranspose2d: 1,
}
"""Layers whose weights are packed -> dimension of the output channels in the weight."""

_UNPACKED_DIM: dict[type[nn.Module], int] = {
    nn.Conv3d: 0,
    nn.ConvTranspose3d: 1,
    nn.Embedding: 0,
    nn.RNNBase: 0,
}
"""Layers whose integers stand in ONNX alone -> as above; all matrices of a recurrent layer."""

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


@dataclass(frozen=True)
class FoldedModel:
    """A network ready to be written.

    Attributes:
        plain: float module, batch-norm folded, weights = dequantized integers, no quantizers.
        layers: module name -> integers, in the module order of the network.
        inputs: module name -> quantization of its input; also of modules with float weights.
        program: the operations of the network as it was before folding.
        output: what the network gave for the example, nested as it gives it.
        calls: operations that compute a packable layer -> its name.
        norms: batch-norms that are folded, and so do nothing any more.
        matrices: qualified parameter name -> integers that `weights.bin` has no form for.
        roundings: node of `graph.build_graph` -> the `Identity` behind it whose input is rounded.
    """

    plain: nn.Module
    layers: dict[str, QuantizedLayer]
    inputs: dict[str, InputQuantization]
    program: Program
    output: object
    calls: Mapping[Operation, str]
    norms: frozenset[str] = frozenset()
    matrices: Mapping[str, QuantizedLayer] = field(default_factory=dict)
    roundings: Mapping[str, str] = field(default_factory=dict)

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
        ValueError: `calibration` names a module that `model` does not have or that has no weights
            with bits: it belongs to another network.
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
        kinds = (*CHANNEL_DIM, *_UNPACKED_DIM)
        if not isinstance(module, kinds):
            raise ValueError(
                f"calibration names {name!r}, a {type(module).__name__}; "
                f"exportable layers are {', '.join(k.__name__ for k in kinds)}"
            )
    return model, {name: x.input for name, x in calibration.items() if x.input is not None}


def fold(model: nn.Module, calibration: Calibration, inputs: object) -> FoldedModel:
    """Folds batch-norms of an evaluated network and recovers its integer weights.

    Args:
        model: `Result.model`: quantized weights written in, batch-norm unfolded.
        calibration: `Result.calibration`; what it lacks of a layer stays in float.
        inputs: one batch of inputs, as the model takes them: a tensor, a tuple or a dict.

    Raises:
        ValueError: a weight is off its quantization grid, or the two belong to different networks.
        TraceError: torch.export can't follow the model.
    """
    plain, rounded = strip_quantizers(model, calibration)
    program = program_of(plain, inputs)
    output = output_of(plain, inputs)
    calls = layer_calls(program)
    norms = foldable_norms(program, calls)
    layers: dict[str, QuantizedLayer] = {}
    matrices: dict[str, QuantizedLayer] = {}
    for name, module in list(plain.named_modules()):
        if isinstance(module, tuple(CHANNEL_DIM)):
            target = calibration.get(name, LayerQuantization()).weight
            layer = _fold_layer(plain, name, target, norms.get(name), rounded.get(name))
            if layer is not None:
                layers[name] = layer
        elif name in calibration:
            matrices |= _unpacked(plain, name, calibration[name])
    folded = frozenset(norms.values())
    return FoldedModel(plain, layers, rounded, program, output, calls, folded, matrices)


def program_of(model: nn.Module, inputs: object) -> Program:
    """Reads a model on one batch of inputs: a tensor, a tuple, or a dict of keywords."""
    if isinstance(inputs, Mapping):
        return read_program(model, (), inputs)
    return read_program(model, tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,))


def output_of(model: nn.Module, inputs: object) -> object:
    """What a model in eval mode gives for one batch, nested as it gives it."""
    with torch.no_grad():
        return call(model, inputs)


def _unpacked(
    plain: nn.Module, name: str, quantization: LayerQuantization
) -> dict[str, QuantizedLayer]:
    """Integers of a layer that `weights.bin` has no form for, by its parameters' names."""
    module = plain.get_submodule(name)
    dim = next(d for k, d in _UNPACKED_DIM.items() if isinstance(module, k))
    found = {}
    whole = () if quantization.weight is None else (("weight", quantization.weight),)
    for part, target in (*whole, *quantization.matrices):
        qualified = f"{name}.{part}" if name else part
        parameter = module.get_parameter(part)
        weight = parameter.detach().double()
        shape = [-1 if d == dim else 1 for d in range(weight.dim())]
        q, scale = _integers(qualified, weight, target, shape)
        parameter.data = q.float() * scale.float().reshape(shape)
        found[qualified] = QuantizedLayer(
            qualified,
            q.to(torch.int8 if target.bits <= 8 else torch.int16).numpy(),
            scale.float().numpy(),
            target.bits,
            None,
            dim,
            quantization.input,
            target.scheme,
            target.zeros,
        )
    return found


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
        gain, bias = fold_terms(plain.get_submodule(norm), bias, channels)
        silence(plain, norm)
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


def foldable_norms(program: Program, calls: Mapping[Operation, str]) -> dict[str, str]:
    """Layer -> batch-norm that reads nothing but this layer's only call."""
    modules = dict(program.model.named_modules())
    times = Counter(calls.values())
    found: dict[str, str] = {}
    for operation in program.operations:
        if operation.kind not in BATCH_NORM_KINDS:
            continue
        norm = modules[operation.module]
        source = operation.value("input")
        behind = None if source is None else program.producer(source)
        layer = None if behind is None else calls.get(behind)
        if (
            is_own_norm(program, operation, norm)
            and source is not None
            and source not in program.outputs
            and len(program.users(source)) == 1
            and layer is not None
            and times[layer] == 1
            # A grouped transposed convolution shares one weight column among its groups.
            and norm.num_features == _weight_channels(modules[layer])
        ):
            found[layer] = operation.module
    return found


def layer_calls(program: Program) -> dict[Operation, str]:
    """Operations that compute a packable layer with the weight that it holds -> its name."""
    modules = dict(program.model.named_modules())
    found = {}
    for operation in program.operations:
        module = modules.get(operation.module)
        weight = program.parameter(operation.value("weight"))
        if weight is None or not isinstance(module, tuple(CHANNEL_DIM)):
            continue
        # Modules may share a tensor, which has the name of the first of them.
        if _tensor(program.model, f"{operation.module}.weight".lstrip(".")) is _tensor(
            program.model, weight
        ):
            found[operation] = operation.module
    return found


def _tensor(model: nn.Module, name: str) -> object:
    owner, _, last = name.rpartition(".")
    return getattr(model.get_submodule(owner), last, None)


def _weight_channels(module: nn.Module) -> int:
    dim = next(d for k, d in CHANNEL_DIM.items() if isinstance(module, k))
    return int(module.get_parameter("weight").shape[dim])
