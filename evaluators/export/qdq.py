"""`model.onnx`: QuantizeLinear / DequantizeLinear pairs around the layers that are quantized.

Integer weights of up to 4 bits are stored as INT4, 5 to 8 as UINT8 with the zero point 128, wider
ones as INT16; powers of two as the integers that they are, so above 4 in UINT8. Zeros are stored
like any weight. Activations are UINT8, with a Clip in front when they use fewer than 8 bits (UINT16
above 8). INT4 and 16 bits need opset 21. Without them the opset is the lowest that the network's
operators have a form in, from 13 on.

For tools that want signed integers, weights and activations of up to 8 bits are INT8 on demand, and
the zero point of weights is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from evaluators.compression.quantization import InputQuantization, QuantizedInput
from evaluators.compression.submodules import replace_submodule
from evaluators.export import onnx_exporter, storage
from evaluators.export.fixed_point import Array, nibbles
from evaluators.export.folding import FoldedModel, QuantizedLayer

INTEGERS = ("uint8", "int8")
"""Types that weights and activations of up to 8 bits may have in the file."""

_WIDE_OPSET = 21
"""First opset with INT4 and 16 bits in DequantizeLinear."""

_MIDDLE = 128
"""What stands for the weight 0 in UINT8. Signed 8-bit weights go to ONNX Runtime's u8 x s8 kernels,
whose sums saturate in 16 bits on x86 without VNNI; its u8 x u8 kernels are exact everywhere."""


def write_onnx(
    folded: FoldedModel,
    inputs: Any,
    path: Path,
    *,
    batches: Iterable[Any] = (),
    integers: str = INTEGERS[0],
) -> int:
    """Writes the network with integer weights and quantized inputs.

    Names and free axes are those of `onnx_exporter.export`.

    Args:
        folded: the network, batch-norm folded.
        inputs: one batch `[N, ...]` of inputs, as the network takes them.
        path: file to write.
        batches: more of them.
        integers: one of :data:`INTEGERS`: signed ones leave no weight in INT4, so that opset 13
            will do.

    Returns:
        The file's opset.

    Raises:
        UnsupportedNetworkError: torch's exporter has no form for an operator; no file is left.
        ValueError: the exporter renamed a quantized weight, or another type of integers.
    """
    check_integers(integers)
    signed = integers == "int8"
    simulated = folded.simulated().eval()
    model = _with_symbols(simulated, storage.repeated(folded), signed)
    wide = _needs_wide_types(folded, signed)
    lowest = onnx_exporter.HIGHEST_OPSET if wide else onnx_exporter.LOWEST_OPSET
    exported = onnx_exporter.export(model, inputs, batches=batches, lowest=lowest)
    opset = _WIDE_OPSET if wide else onnx_exporter.opset_of(exported)
    _narrow_zero_points(exported.graph)
    written = _with_integer_weights(exported.graph, folded, signed)
    onnx.save(onnx_exporter.model_proto(written, opset), str(path))
    return opset


def check_integers(integers: str) -> None:
    """Raises a ``ValueError`` unless it is one of :data:`INTEGERS`."""
    if integers not in INTEGERS:
        raise ValueError(
            f"integers of model.onnx are {integers!r}: choose one of {', '.join(INTEGERS)}"
        )


def _needs_wide_types(folded: FoldedModel, signed: bool) -> bool:
    layers = [*folded.layers.values(), *folded.matrices.values()]
    return (
        any(layer.integer_bits > 8 for layer in layers)
        or any(given.bits > 8 for given in folded.inputs.values())
        or (not signed and any(layer.integer_bits <= 4 for layer in layers))
    )


def _merged(graph: onnx.GraphProto) -> dict[str, str]:
    """Initializer -> the one of equal value that the exporter kept in its place.

    It leaves an Identity under the name of the other.
    """
    initializers = {i.name for i in graph.initializer}
    return {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in initializers
    }


class _QuantizeDequantize(torch.autograd.Function):
    """Identity while tracing; in the file QuantizeLinear and DequantizeLinear."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: float, zero_point: int, bits: int, signed: bool
    ) -> Any:
        return x.clone()

    @staticmethod
    def symbolic(g: Any, x: Any, scale: float, zero_point: int, bits: int, signed: bool) -> Any:
        step = np.float32(scale)
        if bits not in (8, 16):
            limits = (-zero_point * step, np.float32(2**bits - 1 - zero_point) * step)
            low, high = (g.op("Constant", value_t=torch.tensor(float(v))) for v in limits)
            x = g.op("Clip", x, low, high)
        # torch's exporter has no form for uint16: `_narrow_zero_points` puts it in.
        kind = torch.uint8 if bits <= 8 else torch.int32
        if signed and bits <= 8:
            kind, zero_point = torch.int8, zero_point - _MIDDLE
        s = g.op("Constant", value_t=torch.tensor(float(step)))
        z = g.op("Constant", value_t=torch.tensor(zero_point, dtype=kind))
        return g.op("DequantizeLinear", g.op("QuantizeLinear", x, s, z), s, z)


class _Symbol(nn.Module):
    def __init__(
        self, module: nn.Module, quantization: InputQuantization | None, signed: bool
    ) -> None:
        super().__init__()
        self.module, self.quantization, self.signed = module, quantization, signed

    def forward(self, x: torch.Tensor, *rest: object, **named: object) -> Any:
        q = self.quantization
        if q is not None:
            x = _QuantizeDequantize.apply(  # type: ignore[no-untyped-call]  # torch doesn't type apply
                x, q.scale, q.zero_point, q.bits, self.signed
            )
        return self.module(x, *rest, **named)

    def __getattr__(self, name: str) -> Any:
        """What a model's code asks of its layer, as `QuantizedInput` answers it."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(super().__getattr__("module"), name)


def _with_symbols(model: nn.Module, repeated: frozenset[str], signed: bool) -> nn.Module:
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedInput):
            given = None if name in repeated else module.quantization
            symbol = _Symbol(module.module, given, signed)
            replace_submodule(model, name, symbol)
    return model.eval()


def _with_integer_weights(
    graph: onnx.GraphProto, folded: FoldedModel, signed: bool
) -> onnx.GraphProto:
    """Replaces float initializers by integers and a DequantizeLinear of the same output name."""
    kept, nodes = [], []
    # The exporter merges initializers of equal value: then one integer tensor serves both.
    layers = {_weight_name(v, k, "weight"): v for k, v in folded.layers.items()}
    for name, matrix in folded.matrices.items():
        owner, _, part = name.rpartition(".")
        layers[_weight_name(matrix, owner, part)] = matrix
    initializers, merged = {i.name: i for i in graph.initializer}, _merged(graph)
    for name, initializer in initializers.items():
        layer = layers.get(name)
        if layer is None:
            kept.append(initializer)
            continue
        zeros = _tensor(f"{name}.zero", layer, np.zeros(layer.channels, np.int16), signed)
        scale = numpy_helper.from_array(layer.scale, f"{name}.scale")
        kept += [_tensor(f"{name}.int", layer, layer.weight, signed), scale, zeros]
        inputs = [f"{name}.int", f"{name}.scale", f"{name}.zero"]
        axis = layer.channel_dim
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
    if layers and not nodes:
        raise ValueError("no quantized weight was found by its name in the exported graph")
    for node in graph.node:
        layer = layers.get(node.input[1]) if len(node.input) == 3 else None
        if layer is None or layer.bias is None or not _is_coarse(layer):
            nodes.append(node)
            continue
        held = merged.get(node.input[2], node.input[2])
        bias = numpy_helper.to_array(initializers[held])
        spatial = layer.weight.ndim - 2
        shaped = f"{node.output[0]}.bias"
        kept.append(numpy_helper.from_array(bias.reshape(-1, *[1] * spatial).copy(), shaped))
        output = node.output[0]
        del node.input[2]
        node.output[0] = f"{output}.unbiased"
        nodes += [node, helper.make_node("Add", [node.output[0], shaped], [output])]
    results = {output.name for output in graph.output}
    used = results | {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.output[0] in used or node.output[0] not in merged]
    used = {name for node in nodes for name in node.input}
    kept = [i for i in kept if i.name in used]
    return helper.make_graph(nodes, "candidate", graph.input, graph.output, kept)


def _narrow_zero_points(graph: onnx.GraphProto) -> None:
    """Makes UINT16 of the zero points that stand in 32 bits, in place."""
    kinds = ("QuantizeLinear", "DequantizeLinear")
    zeros = {node.input[2] for node in graph.node if node.op_type in kinds}
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in zeros:
            value = numpy_helper.to_array(node.attribute[0].t)
            if value.dtype == np.int32:
                node.attribute[0].t.CopyFrom(numpy_helper.from_array(value.astype(np.uint16)))


def _is_coarse(layer: QuantizedLayer) -> bool:
    """Whether ONNX Runtime's int32 bias would lose precision in this layer.

    By default it rounds the bias of a quantized convolution to multiples of `input scale * weight
    scale`, which at 4 bits reaches the size of the bias itself, and saturates it where a channel's
    scale is tiny. A separate Add is left alone.
    """
    if layer.bits < 8 or layer.input is None or layer.input.bits < 8:
        return True
    assert layer.bias is not None
    steps = np.abs(layer.bias) / (layer.scale.astype(np.float64) * layer.input.scale)
    return bool(steps.max() >= 2**31)


def _weight_name(quantized: QuantizedLayer, owner: str, part: str) -> str:
    return ".".join([owner, *(["module"] if quantized.input is not None else []), part])


def _tensor(name: str, layer: QuantizedLayer, values: Array, signed: bool) -> onnx.TensorProto:
    if layer.integer_bits > 8:
        return numpy_helper.from_array(values.astype(np.int16), name)
    if signed:
        return numpy_helper.from_array(values.astype(np.int8), name)
    if layer.integer_bits > 4:
        shifted = (values.astype(np.int16) + _MIDDLE).astype(np.uint8)
        return numpy_helper.from_array(shifted, name)
    return helper.make_tensor(
        name, TensorProto.INT4, values.shape, nibbles(values).tobytes(), raw=True
    )
