"""An ONNX model with the shapes of a candidate and random weights, float or int8 (QDQ)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.ir.layer import VIEW_OPS, Layer, Shape
from hardware.ir.shape_inference import input_shapes
from hardware.measure.backend import BackendUnavailableError
from hardware.memory.planner import fused_activations

_OPSET = 17  # the first one with LayerNormalization
_SIMPLE = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min",
    "activation": "Relu",
}  # fmt: skip
_SCALE = 0.05  # of random data, which only has to run


class _Graph:
    """Nodes and constants of a model under construction."""

    def __init__(self, int8: bool) -> None:
        self.int8 = int8
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.shapes: dict[str, Shape] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def rounded(self, tensor: str) -> str:
        """The tensor as an int8 engine sees it: quantized and dequantized."""
        if not self.int8:
            return tensor
        out = f"{tensor}.dequantized"
        if not any(node.output[0] == out for node in self.nodes):
            scale = self.constant(f"{tensor}.scale", np.array(_SCALE, np.float32))
            zero = self.constant(f"{tensor}.zero", np.array(128, np.uint8))
            self.node("QuantizeLinear", (tensor, scale, zero), f"{tensor}.quantized")
            self.node("DequantizeLinear", (f"{tensor}.quantized", scale, zero), out)
        return out

    def weight(self, name: str, shape: Shape, axis: int) -> str:
        if not self.int8:
            return self.constant(name, self.random.normal(0, 0.1, shape).astype(np.float32))
        values = self.random.integers(-127, 128, shape).astype(np.int8)
        quantized = self.constant(f"{name}.quantized", values)
        scale = self.constant(f"{name}.scale", np.full(shape[axis], 1e-3, np.float32))
        zero = self.constant(f"{name}.zero", np.zeros(shape[axis], np.int8))
        return self.node("DequantizeLinear", (quantized, scale, zero), name, axis=axis)

    def bias(self, layer: Layer) -> list[str]:
        if not layer.bias:
            return []
        name, size = f"{layer.name}.bias", layer.out_channels
        if not self.int8:
            return [self.constant(name, np.zeros(size, np.float32))]
        quantized = self.constant(f"{name}.quantized", np.zeros(size, np.int32))
        scale = self.constant(f"{name}.scale", np.full(size, 1e-3 * _SCALE, np.float32))
        zero = self.constant(f"{name}.zero", np.zeros(size, np.int32))
        return [self.node("DequantizeLinear", (quantized, scale, zero), name, axis=0)]

    def reshape(self, tensor: str, shape: Shape, output: str) -> str:
        target = self.constant(f"{output}.shape", np.array((1, *shape), np.int64))
        return self.node("Reshape", (tensor, target), output)


def build(layers: Sequence[Layer], int8: bool = True) -> bytes:
    """Return the bytes of a model, batch size 1.

    Args:
        layers: in execution order.
        int8: weights by channel and activations by tensor, as QuantizeLinear / DequantizeLinear
            pairs; otherwise 32-bit floats.

    Raises:
        BackendUnavailableError: `onnx` is not installed.
        ValueError: an operator that is not written here.
    """
    try:
        from onnx import TensorProto, helper
    except ImportError:
        raise BackendUnavailableError("onnx is not installed: pip install onnx") from None
    graph = _Graph(int8)
    graph.shapes.update(input_shapes(layers))
    fused = fused_activations(layers)
    used = {source for layer in layers for source in layer.inputs}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape))
        for name, shape in graph.shapes.items()
    ]
    for layer in layers:
        _append(graph, layer, fused)
        graph.shapes[layer.name] = layer.out_shape
    outputs = [
        helper.make_tensor_value_info(layer.name, TensorProto.FLOAT, (1, *layer.out_shape))
        for layer in layers
        if layer.name not in used
    ]
    made = helper.make_graph(graph.nodes, "candidate", inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def _append(graph: _Graph, layer: Layer, fused: frozenset[str]) -> None:
    # Between an operator and the activation fused into it stands no rounding.
    sources = [s if layer.name in fused else graph.rounded(s) for s in layer.inputs]
    out = layer.name
    if layer.op in ("conv", "depthwise", "conv_transpose"):
        _convolution(graph, layer, sources[0])
    elif layer.op == "linear":
        weight = graph.weight(f"{out}.weight", (layer.in_channels, layer.out_channels), 1)
        if len(layer.in_shape) == 1:
            graph.node("Gemm", (sources[0], weight, *graph.bias(layer)), out)
        else:
            graph.node("MatMul", (sources[0], weight), out)
    elif layer.op in _SIMPLE:
        graph.node(_SIMPLE[layer.op], _aligned(graph, layer, sources), out)
    elif layer.op == "matmul":
        graph.node("MatMul", sources, out)
    elif layer.op == "concat":
        axis = next(
            a
            for a in range(len(layer.out_shape))
            if sum(graph.shapes[s][a] for s in layer.inputs) == layer.out_shape[a]
        )
        graph.node("Concat", sources, out, axis=axis + 1)
    elif layer.op == "softmax":
        graph.node("Softmax", sources, out, axis=1 if len(layer.out_shape) == 1 else -1)
    elif layer.op in ("pool", "global_pool"):
        _pool(graph, layer, sources[0])
    elif layer.op in VIEW_OPS:
        graph.reshape(sources[0], layer.out_shape, out)
    elif layer.op == "layernorm":
        ones = graph.constant(f"{out}.gain", np.ones(layer.in_shape[-1], np.float32))
        graph.node("LayerNormalization", (sources[0], ones), out, axis=-1)
    elif layer.op == "resize":
        sizes = graph.constant(f"{out}.sizes", np.array((1, *layer.out_shape), np.int64))
        graph.node("Resize", (sources[0], "", "", sizes), out, mode="nearest")
    else:
        raise ValueError(f"layer {out!r}: operator {layer.op!r} is not written to ONNX here")


def _aligned(graph: _Graph, layer: Layer, sources: list[str]) -> list[str]:
    """Inputs with trailing ones, so that (C,) scales the channels of (C, H, W)."""
    rank = len(layer.out_shape)
    found = []
    for source, name in zip(sources, layer.inputs, strict=True):
        shape = graph.shapes[name]
        if len(shape) < rank and shape[0] == layer.out_shape[0]:
            full = shape + (1,) * (rank - len(shape))
            source = graph.reshape(source, full, f"{layer.name}.{name}.aligned")
        found.append(source)
    return found


def _pads(layer: Layer) -> list[int]:
    """Begins of all dimensions, then ends, as ONNX wants them."""
    dims = len(layer.kernel)
    p = (
        layer.padding
        if len(layer.padding) == 2 * dims
        else [v for v in layer.padding for _ in "be"]
    )
    return [*p[0::2], *p[1::2]]


def _convolution(graph: _Graph, layer: Layer, source: str) -> None:
    groups = layer.groups
    kernel = layer.kernel
    if layer.op == "conv_transpose":
        shape: Shape = (layer.in_channels, layer.out_channels // groups, *kernel)
        weight = graph.weight(f"{layer.name}.weight", shape, 1 if groups == 1 else 0)
        op, extra = "ConvTranspose", {"output_shape": list(layer.out_shape[1:])}
    else:
        shape = (layer.out_channels, layer.in_channels // groups, *kernel)
        weight = graph.weight(f"{layer.name}.weight", shape, 0)
        op, extra = "Conv", {"pads": _pads(layer)}
    graph.node(
        op,
        (source, weight, *graph.bias(layer)),
        layer.name,
        group=groups,
        kernel_shape=list(kernel),
        strides=list(layer.stride),
        **extra,
    )


def _pool(graph: _Graph, layer: Layer, source: str) -> None:
    name = f"{layer.name}.pooled"
    if layer.op == "global_pool":
        graph.node("GlobalAveragePool", (source,), name)
    else:
        graph.node(
            "AveragePool",
            (source,),
            name,
            kernel_shape=list(layer.kernel),
            strides=list(layer.stride),
            pads=_pads(layer) if len(layer.padding) >= len(layer.kernel) else None,
        )
    if math.prod(layer.out_shape) != layer.in_shape[0] * math.prod(layer.out_shape[1:] or (1,)):
        raise ValueError(f"layer {layer.name!r}: {layer.in_shape} does not pool to its shape")
    graph.reshape(name, layer.out_shape, layer.name)
