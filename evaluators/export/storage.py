"""The last step to integers: every tensor gets its bytes, and no rounding is left to luck.

Quantization-aware training rounds the inputs of layers. What a device stores beside them, operands
of sums and means, is rounded here too, to 8 bits, as runtimes do and as `ram_kb` counts.

Then scales move a little, mostly by less than half a percent, so that their ratios are fractions
`p / q` with an odd `q`. An accumulator `N` becomes the output integer nearest to
`(p * N + j) / q`, the bias being `j / q` steps. With an odd `q` that is never closer to a tie
than `1 / (2 q)`: runtimes that add in another order, or fold the factor into float weights, round
to the same integer. So torch, ONNX Runtime, the Python reference and the C code agree on every
activation, not only on most.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from evaluators.compression.quantization import InputQuantization
from evaluators.export.fixed_point import Quantization
from evaluators.export.folding import FoldedModel, QuantizedLayer
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.integer import lower, wide_tensors
from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.module_graph import as_module
from evaluators.export.steps import AveragePool, Convolution, Sum

LARGEST_DENOMINATOR = 511
"""Odd denominators up to this are tried: scales then move by a few tenths of a percent at most."""

_FINE_ACCUMULATOR = 1 / 32
"""Up to so many output steps per unit of the accumulator a bias is rounded to whole units."""

_INT32 = 2**31 - 1

_Key = tuple[float, int, int]


def as_stored(
    folded: FoldedModel,
    example_input: torch.Tensor,
    calibration_inputs: Iterable[torch.Tensor] = (),
) -> FoldedModel:
    """The network that all exported files hold: its `simulated()` is what is evaluated.

    Args:
        folded: every layer with at most 8-bit weights and inputs.
        example_input: `[N, ...]`, to find the shapes.
        calibration_inputs: batches that give the ranges of sums' and means' operands; the example
            if there are none.

    Returns:
        A copy of the network with the roundings put in and the scales moved.

    Raises:
        UnsupportedNetworkError: the integer kernels lack an operator or a bit-width, or a layer
            can add up more than their accumulators hold.
    """
    _check_accumulators(folded)
    batches = list(calibration_inputs) or [example_input]
    wide = wide_tensors(folded, batches)
    rounded = _with_roundings(folded, wide) if wide else folded
    return _with_odd_ratios(rounded, lower(rounded, example_input))


def _check_accumulators(folded: FoldedModel) -> None:
    for name, layer in folded.layers.items():
        if layer.input is None or layer.bits > 8:
            continue
        axes = tuple(d for d in range(layer.weight.ndim) if d != layer.channel_dim)
        rows = np.abs(layer.weight.astype(np.int64)).sum(axis=axes)
        q = layer.input
        largest = int(rows.max()) * max(q.high - q.zero_point, q.zero_point)
        if largest > _INT32:
            raise UnsupportedNetworkError(
                f"layer '{name}' can add up to {largest} in an accumulator of 32 bits "
                f"(at most {_INT32}): give it fewer inputs or fewer bits"
            )


def repeated(folded: FoldedModel) -> frozenset[str]:
    """Layers that read what is rounded just as they would round it: once is enough in a file."""
    if not isinstance(folded.plain, fx.GraphModule):
        return frozenset()
    inputs, found = folded.inputs, set()
    for node in folded.plain.graph.nodes:
        source = node.args[0] if node.args else None
        if (
            node.op == "call_module"
            and isinstance(source, fx.Node)
            and source.op == "call_module"
            and isinstance(folded.plain.get_submodule(str(source.target)), nn.Identity)
            and node.target in inputs
            and inputs[node.target] == inputs.get(str(source.target))
        ):
            found.add(str(node.target))
    return frozenset(found)


def _with_roundings(folded: FoldedModel, wide: Mapping[str, Quantization]) -> FoldedModel:
    """Puts a quantized `Identity` behind each of the named nodes."""
    names = {name: f"rounded_{name}" for name in wide}
    plain = copy.deepcopy(folded.plain)
    for name in names.values():
        plain.add_module(name, nn.Identity())
    inputs = {
        names[name]: InputQuantization(q.scale, q.unsigned_zero_point, q.levels.bit_length())
        for name, q in wide.items()
    }
    rounded = replace(folded, plain=plain, inputs=folded.inputs | inputs, roundings=names)
    return replace(rounded, plain=as_module(rounded, plain))


def _with_odd_ratios(folded: FoldedModel, network: IntegerNetwork) -> FoldedModel:
    settled = _settle_activations(network)

    def scale_of(key: _Key) -> float:
        return settled.get(key, float(np.float32(key[0])))

    def moved(q: InputQuantization) -> InputQuantization:
        return replace(q, scale=scale_of((q.scale, q.zero_point, q.high)))

    inputs = {name: moved(q) for name, q in folded.inputs.items()}
    layers = dict(folded.layers)
    plain = copy.deepcopy(folded.plain)
    for step in network.steps:
        if not isinstance(step, Convolution):
            continue
        layer = replace(layers[step.module], input=inputs.get(step.module))
        if _is_byte(step.output.quantization):
            given = scale_of(_key(step.inputs[0].quantization))
            layer = _moved(layer, given, scale_of(_key(step.output.quantization)))
        layers[step.module] = layer
        module = plain.get_submodule(step.module)
        shape = [-1 if d == layer.channel_dim else 1 for d in range(layer.weight.ndim)]
        weight = layer.weight.astype(np.float32) * layer.scale.reshape(shape)
        module.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
        if layer.bias is not None:
            module.bias = nn.Parameter(torch.from_numpy(layer.bias), requires_grad=False)
    return replace(folded, plain=plain, layers=layers, inputs=inputs)


def _settle_activations(network: IntegerNetwork) -> dict[_Key, float]:
    """New scales of the operands and results of sums and means, in the order of execution.

    A scale that an earlier step has settled stays. Where all scales of a step are settled its
    ratios are what they are: torch and ONNX Runtime still agree there, since they multiply, add
    and divide the same float32 numbers in the same order.
    """
    settled: dict[_Key, float] = {}
    for step in network.steps:
        if not isinstance(step, (Sum, AveragePool)) or not _is_byte(step.output.quantization):
            continue
        keys = [_key(t.quantization) for t in step.inputs]
        result = _key(step.output.quantization)
        window = step.window.kernel if isinstance(step, AveragePool) else (1, 1)
        if keys == [result]:
            # A clamp of its own: no scale changes.
            continue
        unit = _unit(settled, keys, result, window[0] * window[1])
        for key in keys:
            if key not in settled:
                settled[key] = float(np.float32(max(round(key[0] / unit), 1) * unit))
    return settled


def _unit(settled: dict[_Key, float], keys: list[_Key], result: _Key, count: int) -> float:
    """The `q`-th part of a result's step, times `count` for a mean: all operands are multiples.

    Settles the result's scale if it isn't.
    """
    if result in settled:
        return settled[result] * count / LARGEST_DENOMINATOR
    fixed = [k for k in keys if k in settled] or keys[:1]
    scale = settled.setdefault(fixed[0], float(np.float32(fixed[0][0])))
    if len(set(fixed)) < 2:
        (p,), (q,) = odd_fraction(np.array([scale / (count * result[0])]))
    else:
        # Two operands that can't move: multiples of one unit to within a millionth.
        multiples = np.arange(1.0, 2.0 * LARGEST_DENOMINATOR)
        ratio = settled[fixed[1]] / scale
        p = multiples[np.abs(np.rint(multiples * ratio) / multiples / ratio - 1.0).argmin()]
        q = 2.0 * np.floor(0.5 * p * result[0] / scale) + 1.0
    unit = float(scale / p)
    settled[result] = float(np.float32(unit * q / count))
    return unit


def _moved(layer: QuantizedLayer, given: float, result: float) -> QuantizedLayer:
    """The layer with weight scales and biases such that no accumulator is near a tie."""
    ratio = given * layer.scale.astype(np.float64) / result
    p, q = odd_fraction(ratio)
    unit = p / q
    bias = layer.bias
    if bias is not None:
        steps = bias.astype(np.float64) / result
        # Whole units of the accumulator where they are fine enough: kernels that add an int32
        # bias then lose nothing. The other grid, too, has an odd denominator.
        whole = np.rint(steps / unit)
        use = (unit <= _FINE_ACCUMULATOR) & (np.abs(whole) < _INT32)
        odd = np.minimum(q, LARGEST_DENOMINATOR)
        on_grid = np.where(use, whole * unit, np.rint(steps * odd) / odd)
        bias = (on_grid * result).astype(np.float32)
    scale = (unit * result / given).astype(np.float32)
    return replace(layer, scale=scale, bias=bias)


def odd_fraction(
    ratio: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The nearest `p / q` with an odd `q` up to `LARGEST_DENOMINATOR`, `p` at least 1.

    Args:
        ratio: `[C]`, positive. Those below `1 / LARGEST_DENOMINATOR` become `1 / q`, whatever `q`.

    Returns:
        `p` and `q`, each `[C]`.
    """
    candidates = np.arange(1, LARGEST_DENOMINATOR + 1, 2, dtype=np.float64)
    p = np.maximum(np.rint(ratio[:, None] * candidates), 1.0)
    error = np.abs(p / candidates / ratio[:, None] - 1.0)
    best = error.argmin(axis=1)
    q = candidates[best]
    p = p[np.arange(len(ratio)), best]
    small = ratio * LARGEST_DENOMINATOR < 1.0
    nearest_odd = 2.0 * np.floor(0.5 / ratio) + 1.0
    return np.where(small, 1.0, p), np.where(small, nearest_odd, q)


def _is_byte(quantization: Quantization) -> bool:
    return quantization.item_bytes == 1


def _key(quantization: Quantization) -> _Key:
    return quantization.scale, quantization.unsigned_zero_point, quantization.levels
