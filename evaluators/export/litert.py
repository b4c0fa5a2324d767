"""`model.tflite`: the integer network for LiteRT and tflite-micro, 8 bits throughout.

Needs the optional package `ai-edge-litert`. LiteRT has no wide tensors and no activations below 8
bits: operands of sums and means, and the output, are rounded to 8 bits here, so its predictions
may differ from those of the other files; the export counts them. Weights are stored as int8.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluators.export.fixed_point import Array
from evaluators.export.folding import FoldedModel
from evaluators.export.graph import UnsupportedNetworkError, Window
from evaluators.export.integer import IntegerNetwork
from evaluators.export.steps import (
    AveragePool,
    Concatenation,
    Convolution,
    MaxPool,
    Step,
    Sum,
    Tensor,
    margins,
)
from evaluators.export.verify import Run

_SCHEMA_VERSION = 3
_SIGN_OFFSET = 128
_LARGEST_BIAS = 2**30
_CLAMPS = {
    "NONE": (-math.inf, math.inf),
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def is_available() -> bool:
    """Whether `ai-edge-litert` is installed."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def write_tflite(network: IntegerNetwork, folded: FoldedModel, path: Path) -> None:
    """Writes an integer network that was lowered with `wide_bits=8`.

    Input and output are int8, `[1, height, width, channels]`.

    Raises:
        UnsupportedNetworkError: an activation below 8 bits, or a use that LiteRT lacks.
    """
    path.write_bytes(_Writer(folded).write(network))


def litert_runner(path: Path, network: IntegerNetwork) -> Run:
    """Returns a callable from `(inputs [N, ...],)` in torch's order to real outputs `[N, K]`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(inputs: tuple[Array, ...]) -> npt.NDArray[np.float32]:
        integers = (network.quantize_input(inputs[0]) - _SIGN_OFFSET).astype(np.int8)
        outputs = []
        for sample in integers:
            interpreter.set_tensor(given["index"], sample.reshape(given["shape"]))
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(result["index"]).reshape(-1).astype(np.int64))
        q = network.output.quantization
        return ((np.stack(outputs) + _SIGN_OFFSET - q.zero_point) * q.scale).astype(np.float32)

    return run


class _Writer:
    def __init__(self, folded: FoldedModel) -> None:
        from ai_edge_litert import schema_py_generated

        self.schema = schema_py_generated
        self.folded = folded
        self.buffers: list[Any] = [self.schema.BufferT()]
        self.tensors: list[Any] = []
        self.indices: dict[str, int] = {}
        self.operators: list[Any] = []
        self.codes: dict[tuple[int, int], int] = {}

    def write(self, network: IntegerNetwork) -> bytes:
        flatbuffers: Any = importlib.import_module("flatbuffers")

        schema = self.schema
        first = self._activation(network.input)
        for step in network.steps:
            self._step(step)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self.tensors, self.operators, "main"
        graph.inputs, graph.outputs = [first], [self.indices[network.output.name]]
        model = schema.ModelT()
        model.version, model.description = _SCHEMA_VERSION, "nni-joint-ga"
        model.subgraphs, model.buffers = [graph], self.buffers
        model.operatorCodes = []
        for builtin, version in self.codes:
            code = schema.OperatorCodeT()
            # Readers from before 127 operators look at the deprecated field.
            code.deprecatedBuiltinCode = min(builtin, 127)
            code.builtinCode, code.version = builtin, version
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _step(self, step: Step) -> None:
        inputs = [self.indices[t.name] for t in step.inputs]
        if isinstance(step, Convolution):
            self._convolution(step, inputs[0])
        elif isinstance(step, Sum) and len(inputs) == 1:
            if _activation_of(step) != "NONE":
                raise UnsupportedNetworkError(f"clamp behind a branch at {step.name!r}")
            self._operator("QUANTIZE", 2, inputs, step.output)
        elif isinstance(step, Sum):
            options = self.schema.AddOptionsT()
            options.fusedActivationFunction = self._fused(step)
            self._operator("ADD", 2, inputs, step.output, options, "AddOptions")
        elif isinstance(step, Concatenation):
            options = self.schema.ConcatenationOptionsT()
            options.axis = -1
            self._operator("CONCATENATION", 2, inputs, step.output, options, "ConcatenationOptions")
        elif isinstance(step, MaxPool):
            self._max_pool(step, inputs)
        elif isinstance(step, AveragePool):
            if step.window.kernel != step.inputs[0].shape[:2]:
                raise UnsupportedNetworkError(f"average pool that is not global at {step.name!r}")
            axes = self._constant(f"{step.name}.axes", np.array([1, 2], np.int32))
            options = self.schema.ReducerOptionsT()
            options.keepDims = True
            self._operator("MEAN", 2, [*inputs, axes], step.output, options, "ReducerOptions")
        else:
            raise UnsupportedNetworkError(f"operator {type(step).__name__} at {step.name!r}")

    def _convolution(self, step: Convolution, source: int) -> None:
        layer = self.folded.layers[step.module]
        given = step.inputs[0]
        bias = layer.bias if layer.bias is not None else np.zeros(layer.channels, np.float32)
        # A channel whose bias would not fit into int32 is all bias: coarsen its weights.
        floor = np.abs(bias.astype(np.float64)) / (given.quantization.scale * _LARGEST_BIAS)
        scale = np.maximum(layer.scale.astype(np.float64), floor)
        ratio = (layer.scale.astype(np.float64) / scale).reshape(-1, 1, 1, 1)
        weight = np.rint(step.weight * ratio).astype(np.int8)
        steps = np.rint(bias / (scale * given.quantization.scale)).astype(np.int32)
        dense = given.shape[:2] == (1, 1) and step.window.kernel == (1, 1) and step.groups == 1
        axis = 0
        if dense:
            weight = weight.reshape(len(weight), -1)
        elif step.is_depthwise:
            weight, axis = weight.transpose(3, 1, 2, 0), 3
        operands = [
            source,
            self._constant(f"{step.module}.weight", weight, scale, axis),
            self._constant(f"{step.module}.bias", steps, scale * given.quantization.scale, 0),
        ]
        fused = self._fused(step)
        if dense:
            options = self.schema.FullyConnectedOptionsT()
            options.fusedActivationFunction = fused
            self._operator(
                "FULLY_CONNECTED", 4, operands, step.output, options, "FullyConnectedOptions"
            )
            return
        name, schema = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if axis else (
            "CONV_2D", "Conv2DOptions"
        )  # fmt: skip
        options = getattr(self.schema, f"{schema}T")()
        options.padding = self._padding(step.window, given, step.output)
        if options.padding is None:
            operands[0] = self._padded(step, step.window, source)
            options.padding = self.schema.Padding.VALID
        options.strideH, options.strideW = step.window.stride
        options.dilationHFactor, options.dilationWFactor = step.window.dilation
        options.fusedActivationFunction = fused
        if axis:
            options.depthMultiplier = 1
        self._operator(name, 3, operands, step.output, options, schema)

    def _max_pool(self, step: MaxPool, inputs: list[int]) -> None:
        options = self.schema.Pool2DOptionsT()
        options.padding = self._padding(step.window, step.inputs[0], step.output)
        q = step.output.quantization
        if step.window.dilation != (1, 1):
            raise UnsupportedNetworkError(f"dilation of the max pool {step.name!r}")
        if options.padding is None and q.zero_point == q.low:
            # Zeros can stand for what lies outside: nothing is below them.
            inputs = [self._padded(step, step.window, inputs[0])]
            options.padding = self.schema.Padding.VALID
        if options.padding is None:
            raise UnsupportedNetworkError(f"padding of signed values at {step.name!r}")
        options.strideH, options.strideW = step.window.stride
        options.filterHeight, options.filterWidth = step.window.kernel
        self._operator("MAX_POOL_2D", 2, inputs, step.output, options, "Pool2DOptions")

    def _padding(self, window: Window, before: Tensor, after: Tensor) -> int | None:
        """SAME or VALID, None if the window is padded in another way."""
        left, right, top, bottom = margins(window, before.shape, after.shape)
        if left == top == 0 and max(right, bottom) <= 0:
            return int(self.schema.Padding.VALID)
        same = all(
            start == (start + end) // 2 and end >= 0 and out == -(-size // stride)
            for start, end, size, out, stride in (
                (top, bottom, before.shape[0], after.shape[0], window.stride[0]),
                (left, right, before.shape[1], after.shape[1], window.stride[1]),
            )
        )
        return int(self.schema.Padding.SAME) if same else None

    def _padded(self, step: Step, window: Window, source: int) -> int:
        before = step.inputs[0]
        left, right, top, bottom = (
            max(m, 0) for m in margins(window, before.shape, step.output.shape)
        )
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        h, w, c = before.shape
        shape = (h + top + bottom, w + left + right, c)
        padded = Tensor(f"{step.name}.padded", shape, before.quantization)
        constant = self._constant(f"{step.name}.paddings", amounts)
        self._operator(
            "PAD", 2, [source, constant], padded, self.schema.PadOptionsT(), "PadOptions"
        )
        return self.indices[padded.name]

    def _fused(self, step: Step) -> int:
        return int(getattr(self.schema.ActivationFunctionType, _activation_of(step)))

    def _activation(self, tensor: Tensor) -> int:
        q = tensor.quantization
        if (q.kind, q.low, q.high) != ("uint8_t", 0, 255):
            raise UnsupportedNetworkError(f"activations below 8 bits at {tensor.name!r}")
        zero_point = q.zero_point - _SIGN_OFFSET
        self.indices[tensor.name] = self._tensor(
            tensor.name, (1, *tensor.shape), np.dtype(np.int8), 0, [q.scale], [zero_point], 0
        )
        return self.indices[tensor.name]

    def _constant(self, name: str, values: Array, scale: Any = None, axis: int = 0) -> int:
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.buffers.append(buffer)
        scales = [] if scale is None else list(scale)
        zeros = [0] * len(scales)
        index = len(self.buffers) - 1
        return self._tensor(name, values.shape, values.dtype, index, scales, zeros, axis)

    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        buffer: int,
        scales: list[float],
        zero_points: list[int],
        axis: int,
    ) -> int:
        tensor = self.schema.TensorT()
        kinds = {"int8": self.schema.TensorType.INT8, "int32": self.schema.TensorType.INT32}
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = kinds[dtype.name]
        if scales:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = zero_points
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _operator(
        self,
        name: str,
        version: int,
        inputs: list[int],
        output: Tensor,
        options: Any = None,
        options_type: str = "NONE",
    ) -> None:
        operator = self.schema.OperatorT()
        key = (int(getattr(self.schema.BuiltinOperator, name)), version)
        operator.opcodeIndex = self.codes.setdefault(key, len(self.codes))
        operator.inputs, operator.outputs = inputs, [self._activation(output)]
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options_type)
        self.operators.append(operator)


def _activation_of(step: Step) -> str:
    """Name of the clamp that a step does beyond its type's own range."""
    for name, limits in _CLAMPS.items():
        if step.bounds == step.output.quantization.clamped(*limits):
            return name
    raise UnsupportedNetworkError(f"clamp to {step.bounds} at {step.name!r}")
