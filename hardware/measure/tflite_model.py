"""An int8 TensorFlow Lite model with the shapes of a candidate and random weights.

Written with the flatbuffer schema that LiteRT or tflite-micro brings along, so that no TensorFlow
is needed. Activations lie as (1, height, width, channels).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.ir.layer import Layer, Shape
from hardware.ir.shape_inference import input_shapes
from hardware.measure.backend import BackendUnavailableError
from hardware.memory.planner import fused_activations

_SCHEMAS = (
    "ai_edge_litert.schema_py_generated",
    "tflite_micro.tensorflow.lite.micro.python.schema_py_generated",
)
# Numbers of the schema's enumerations.
_INT8, _INT32 = 9, 2
_RELU = 1
_ZERO_POINT = -3  # any: activations are rarely symmetric
# Operator codes and option tables of the TensorFlow Lite schema.
_OPS: dict[str, tuple[str, str]] = {
    "conv": ("CONV_2D", "Conv2DOptions"),
    "depthwise": ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"),
    "linear": ("FULLY_CONNECTED", "FullyConnectedOptions"),
    "add": ("ADD", "AddOptions"),
    "sub": ("SUB", "SubOptions"),
    "mul": ("MUL", "MulOptions"),
    "concat": ("CONCATENATION", "ConcatenationOptions"),
    "pool": ("AVERAGE_POOL_2D", "Pool2DOptions"),
    "global_pool": ("AVERAGE_POOL_2D", "Pool2DOptions"),
    "reshape": ("RESHAPE", "ReshapeOptions"),
    "softmax": ("SOFTMAX", "SoftmaxOptions"),
    "activation": ("RELU", ""),
    "pad": ("PAD", "PadOptions"),
}
_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "PAD": 2, "RESHAPE": 1}


def load_schema() -> Any:
    """Return the generated schema module.

    Raises:
        BackendUnavailableError: neither package that brings it is installed.
    """
    for name in _SCHEMAS:
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            try:
                return importlib.import_module(name)
            except ImportError:
                continue
    raise BackendUnavailableError(
        "no TensorFlow Lite schema: pip install ai-edge-litert (or tflite-micro)"
    )


class _Model:
    """Tensors, buffers and operators of a model under construction."""

    def __init__(self) -> None:
        self.s = load_schema()
        self.random = np.random.default_rng(0)
        empty = self.s.BufferT()
        self.buffers = [empty]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[str] = []
        self.index: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        data: NDArray[Any] | None = None,
        scale: Sequence[float] = (0.05,),
        zero: int = _ZERO_POINT,
        axis: int = 0,
    ) -> int:
        made = self.s.TensorT()
        made.shape, made.name, made.buffer = list(shape), name.encode(), 0
        made.type = _INT8
        if data is not None:
            buffer = self.s.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
            made.type = _INT32 if data.dtype == np.int32 else _INT8
        quantization = self.s.QuantizationParametersT()
        quantization.scale = list(scale)
        quantization.zeroPoint = [zero] * len(scale)
        quantization.quantizedDimension = axis
        made.quantization = quantization
        self.tensors.append(made)
        self.index[name] = len(self.tensors) - 1
        return len(self.tensors) - 1

    def weights(self, layer: Layer, shape: Sequence[int], axis: int) -> list[int]:
        values = self.random.integers(-127, 128, tuple(shape)).astype(np.int8)
        scales = [0.002] * (layer.out_channels if layer.op != "linear" else 1)
        weight = self.tensor(f"{layer.name}/weight", shape, values, scales, 0, axis)
        bias = np.zeros(layer.out_channels, np.int32)
        biases = [0.05 * s for s in scales]
        return [weight, self.tensor(f"{layer.name}/bias", bias.shape, bias, biases, 0)]

    def operator(self, op: str, inputs: list[int], output: int, **options: Any) -> None:
        code, table = _OPS[op]
        if code not in self.codes:
            self.codes.append(code)
        made = self.s.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self.codes.index(code), inputs, [output]
        if table:
            made.builtinOptionsType = getattr(self.s.BuiltinOptions, table)
            made.builtinOptions = getattr(self.s, f"{table}T")()
            for key, value in options.items():
                setattr(made.builtinOptions, key, value)
        self.operators.append(made)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = self.s.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs, graph.name = inputs, outputs, b"main"
        model: Any = self.s.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for name in self.codes:
            code = self.s.OperatorCodeT()
            number = getattr(self.s.BuiltinOperator, name)
            code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
            code.version = _VERSIONS.get(name, 2)
            model.operatorCodes.append(code)
        builder: Any = importlib.import_module("flatbuffers").Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def build(layers: Sequence[Layer]) -> bytes:
    """Return the bytes of an int8 model, batch size 1.

    Raises:
        BackendUnavailableError: no package with the schema is installed.
        ValueError: an operator that is not written here; the message names it.
    """
    model = _Model()
    shapes = dict(input_shapes(layers))
    for name, shape in shapes.items():
        model.tensor(name, _nhwc(shape))
    fused = fused_activations(layers)
    follower = {layer.inputs[0]: layer.name for layer in layers if layer.name in fused}
    used = {source for layer in layers for source in layer.inputs}
    for layer in layers:
        if layer.name in fused:
            continue
        if layer.op not in _OPS or layer.op == "pad":
            raise ValueError(
                f"layer {layer.name!r}: operator {layer.op!r} is not written to TensorFlow Lite "
                f"here (known: {', '.join(_OPS)})"
            )
        _append(model, layer, _RELU if layer.name in follower else 0)
        if layer.name in follower:
            model.index[follower[layer.name]] = model.index[layer.name]
    outputs = [model.index[layer.name] for layer in layers if layer.name not in used]
    return model.finish([model.index[name] for name in shapes], outputs)


def _nhwc(shape: Shape) -> tuple[int, ...]:
    if len(shape) == 1:
        return (1, shape[0])
    if len(shape) == 2:
        return (1, 1, shape[1], shape[0])
    return (1, *shape[1:], shape[0])


def _append(model: _Model, layer: Layer, activation: int) -> None:
    inputs = [model.index[source] for source in layer.inputs]
    if layer.op in ("conv", "depthwise"):
        _convolution(model, layer, inputs[0], activation)
        return
    if layer.op == "softmax":
        out = model.tensor(layer.name, _nhwc(layer.out_shape), None, (1 / 256,), -128)
        model.operator("softmax", inputs, out, beta=1.0)
        return
    if layer.op in ("pool", "global_pool"):
        _pool(model, layer, inputs[0])
        return
    extra: list[int] = []
    options: dict[str, Any] = {}
    if layer.op == "linear":
        extra = model.weights(layer, (layer.out_channels, layer.in_channels), 0)
        options = {"fusedActivationFunction": activation}
    elif layer.op in ("add", "sub", "mul"):
        options = {"fusedActivationFunction": activation}
    elif layer.op == "concat":
        options = {"axis": len(_nhwc(layer.out_shape)) - 1}
    elif layer.op == "reshape":
        options = {"newShape": list(_nhwc(layer.out_shape))}
        shape = np.array(_nhwc(layer.out_shape), np.int32)
        extra = [model.tensor(f"{layer.name}/shape", shape.shape, shape, (1.0,), 0)]
    out = model.tensor(layer.name, _nhwc(layer.out_shape))
    model.operator(layer.op, inputs + extra, out, **options)


def _convolution(model: _Model, layer: Layer, source: int, activation: int) -> None:
    if layer.groups > 1 and layer.op == "conv":
        raise ValueError(f"layer {layer.name!r}: grouped convolutions are not written here")
    c, (kh, kw), (sh, sw) = layer.in_channels, _pair(layer.kernel), _pair(layer.stride)
    _, ih, iw, _ = _nhwc(layer.in_shape)
    _, oh, ow, _ = _nhwc(layer.out_shape)
    p = layer.padding
    pads = p if len(p) == 2 * len(layer.kernel) else tuple(v for v in p for _ in "be")
    pads = pads if len(pads) == 4 else (0, 0, *pads)
    same = pads == (*_same(ih, oh, kh, sh), *_same(iw, ow, kw, sw))
    if not same and any(pads):
        name = f"{layer.name}/padded"
        amounts = np.array([[0, 0], [pads[0], pads[1]], [pads[2], pads[3]], [0, 0]], np.int32)
        table = model.tensor(f"{name}/amounts", amounts.shape, amounts, (1.0,), 0)
        shape = (1, ih + pads[0] + pads[1], iw + pads[2] + pads[3], c)
        padded = model.tensor(name, shape)
        model.operator("pad", [source, table], padded)
        source = padded
    options: dict[str, Any] = {
        "padding": 0 if same else 1,
        "strideH": sh,
        "strideW": sw,
        "fusedActivationFunction": activation,
    }
    if layer.op == "depthwise":
        weights = model.weights(layer, (1, kh, kw, layer.out_channels), 3)
        options["depthMultiplier"] = layer.out_channels // c
    else:
        weights = model.weights(layer, (layer.out_channels, kh, kw, c), 0)
    out = model.tensor(layer.name, _nhwc(layer.out_shape))
    model.operator(layer.op, [source, *weights], out, **options)


def _same(size: int, out: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pool(model: _Model, layer: Layer, source: int) -> None:
    _, ih, iw, c = _nhwc(layer.in_shape)
    if layer.op == "global_pool":
        (kh, kw), (sh, sw), pooled = (ih, iw), (1, 1), (1, 1, 1, c)
    else:
        (kh, kw), (sh, sw) = _pair(layer.kernel), _pair(layer.stride)
        pooled = _nhwc(layer.out_shape)  # type: ignore[assignment]  # a shape of another length
    final = _nhwc(layer.out_shape)
    name = layer.name if pooled == final else f"{layer.name}/pooled"
    out = model.tensor(name, pooled)
    padding = 1 if not any(layer.padding) else 0
    options = {"filterHeight": kh, "filterWidth": kw, "strideH": sh, "strideW": sw}
    model.operator(layer.op, [source], out, padding=padding, **options)
    if pooled != final:
        if math.prod(pooled) != math.prod(final):
            raise ValueError(f"layer {layer.name!r}: {layer.in_shape} does not pool to its shape")
        shape = np.array(final, np.int32)
        table = model.tensor(f"{layer.name}/shape", shape.shape, shape, (1.0,), 0)
        reshaped = model.tensor(layer.name, final)
        model.operator("reshape", [out, table], reshaped, newShape=list(final))


def _pair(values: Shape) -> tuple[int, int]:
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])
