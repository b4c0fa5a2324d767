"""`model.onnx`: QuantizeLinear / DequantizeLinear pairs around the layers that are quantized.

Integer weights of up to 4 bits are stored as INT4 (opset 21), 5 to 8 as UINT8 with the zero point
128, wider ones as INT16; powers of two as the integers that they are, so above 4 in UINT8. Zeros
are stored like any weight. Activations are UINT8, with a Clip in front when they use fewer than 8
bits (UINT16 above 8).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from evaluators.compression.quantization import InputQuantization, QuantizedInput
from evaluators.compression.submodules import replace_submodule
from evaluators.export import storage
from evaluators.export.fixed_point import Array
from evaluators.export.folding import FoldedModel, QuantizedLayer

OPSET = 21
"""First opset with INT4 in DequantizeLinear."""

_EXPORT_OPSET = 18
_IR_VERSION = 10

_WEIGHT_ZERO = 128
"""Signed 8-bit weights would go to ONNX Runtime's u8 x s8 kernels, whose sums saturate in 16 bits
on x86 without VNNI; its u8 x u8 kernels are exact everywhere."""


def write_onnx(folded: FoldedModel, inputs: tuple[torch.Tensor, ...], path: Path) -> None:
    """Writes the network with integer weights and quantized inputs.

    Args:
        folded: the network, batch-norm folded.
        inputs: one batch `[N, ...]` of each input; the batch dimension of the file is free.
        path: file to write.

    Raises:
        ValueError: the exporter renamed or merged away a quantized weight.
    """
    names = [f"input_{i}" if i else "input" for i in range(len(inputs))]
    model = _with_symbols(folded.simulated(), storage.repeated(folded))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            inputs,
            str(path),
            dynamo=False,
            opset_version=_EXPORT_OPSET,
            input_names=names,
            output_names=["output"],
            dynamic_axes={k: {0: "batch"} for k in [*names, "output"]},
            # Keep every weight under its module's name: no folding into other tensors.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    exported = onnx.load(str(path))
    written = _with_integer_weights(exported.graph, folded)
    result = helper.make_model(
        written,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nni-joint-ga",
    )
    onnx.checker.check_model(result, full_check=True)
    onnx.save(result, str(path))


class _QuantizeDequantize(torch.autograd.Function):
    """Identity while tracing; in the file QuantizeLinear and DequantizeLinear."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float, zero_point: int, bits: int) -> Any:
        return x.clone()

    @staticmethod
    def symbolic(g: Any, x: Any, scale: float, zero_point: int, bits: int) -> Any:
        step = np.float32(scale)
        if bits not in (8, 16):
            limits = (-zero_point * step, np.float32(2**bits - 1 - zero_point) * step)
            low, high = (g.op("Constant", value_t=torch.tensor(float(v))) for v in limits)
            x = g.op("Clip", x, low, high)
        kind = torch.uint8 if bits <= 8 else torch.uint16
        s = g.op("Constant", value_t=torch.tensor(float(step)))
        z = g.op("Constant", value_t=torch.tensor(zero_point, dtype=kind))
        return g.op("DequantizeLinear", g.op("QuantizeLinear", x, s, z), s, z)


class _Symbol(nn.Module):
    def __init__(self, module: nn.Module, quantization: InputQuantization | None) -> None:
        super().__init__()
        self.module, self.quantization = module, quantization

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.quantization
        if q is None:
            return self.module(x)  # type: ignore[no-any-return]  # a module's call has no type
        y: torch.Tensor = self.module(
            # torch leaves Function.apply untyped.
            _QuantizeDequantize.apply(x, q.scale, q.zero_point, q.bits)  # type: ignore[no-untyped-call]  # torch doesn't type apply
        )
        return y


def _with_symbols(model: nn.Module, repeated: frozenset[str]) -> nn.Module:
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedInput):
            symbol = _Symbol(module.module, None if name in repeated else module.quantization)
            replace_submodule(model, name, symbol)
    return model.eval()


def _with_integer_weights(graph: onnx.GraphProto, folded: FoldedModel) -> onnx.GraphProto:
    """Replaces float initializers by integers and a DequantizeLinear of the same output name."""
    kept, nodes = [], []
    # The exporter merges initializers of equal value: then one integer tensor serves both.
    layers = {_weight_name(k, v): v for k, v in folded.layers.items()}
    initializers = {i.name: i for i in graph.initializer}
    for name, initializer in initializers.items():
        layer = layers.get(name)
        if layer is None:
            kept.append(initializer)
            continue
        zeros = _tensor(f"{name}.zero", layer, np.zeros(layer.channels, np.int16))
        scale = numpy_helper.from_array(layer.scale, f"{name}.scale")
        kept += [_tensor(f"{name}.int", layer, layer.weight), scale, zeros]
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
        bias = numpy_helper.to_array(initializers[node.input[2]])
        spatial = layer.weight.ndim - 2
        shaped = f"{node.output[0]}.bias"
        kept.append(numpy_helper.from_array(bias.reshape(-1, *[1] * spatial).copy(), shaped))
        output = node.output[0]
        del node.input[2]
        node.output[0] = f"{output}.unbiased"
        nodes += [node, helper.make_node("Add", [node.output[0], shaped], [output])]
    used = {name for node in nodes for name in node.input}
    kept = [i for i in kept if i.name in used]
    return helper.make_graph(nodes, "candidate", graph.input, graph.output, kept)


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


def _weight_name(layer: str, quantized: QuantizedLayer) -> str:
    return f"{layer}.module.weight" if quantized.input is not None else f"{layer}.weight"


def _tensor(name: str, layer: QuantizedLayer, values: Array) -> onnx.TensorProto:
    if layer.integer_bits > 8:
        return numpy_helper.from_array(values.astype(np.int16), name)
    flat = values.astype(np.int8).reshape(-1)
    if layer.integer_bits > 4:
        shifted = (values.astype(np.int16) + _WEIGHT_ZERO).astype(np.uint8)
        return numpy_helper.from_array(shifted, name)
    # ONNX packs two elements a byte, the first in the low half; an odd one is padded.
    nibbles = np.concatenate([flat, np.zeros(len(flat) % 2, np.int8)]).view(np.uint8) & 15
    packed = nibbles[0::2] | (nibbles[1::2] << 4)
    return helper.make_tensor(
        name, TensorProto.INT4, values.shape, packed.astype(np.uint8).tobytes(), raw=True
    )
