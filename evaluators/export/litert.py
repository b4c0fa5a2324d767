"""`model.tflite` and `model_int4.tflite`: the integer network for LiteRT and tflite-micro.

Needs the optional package `ai-edge-litert`. LiteRT has no wide tensors and no activations below 8
bits: operands of sums and means, and the output, are rounded to 8 bits here, so its predictions
may differ from those of the other files; the export counts them.

Weights are int8 in the first file. In the second those that fit are int4, two to a byte, the first
in the low half. What kernels there are decides which layers that is of (tflite-micro's
`conv_common.cc`, `fully_connected_common.cc`): convolutions with all channels in one group, and
depthwise ones. A fully connected layer has one scale there if its weights are int4, so such a layer
is written as the convolution that it is, with a kernel as large as its input.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.export.fixed_point import Array, nibbles
from evaluators.export.folding import FoldedModel
from evaluators.export.graph import UnsupportedNetworkError, Window
from evaluators.export.integer_network import IntegerNetwork, Outputs
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
from evaluators.pytree import tensors

NOT_INSTALLED = "ai-edge-litert is not installed (pip install 'nni-joint-ga[litert]')"
NO_FOUR_BITS = "no layer has weights of 4 bits or fewer that tflite-micro reads as int4"

_SCHEMA_VERSION = 3
_FOUR_BITS = 4
_INT8_VERSION, _INT4_VERSION = 3, 7
"""Of both kinds of convolutions (`op_version.cc` of TensorFlow), by the type of the weights."""
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


def write_tflite(
    network: IntegerNetwork, folded: FoldedModel, path: Path, *, four_bits: bool = False
) -> None:
    """Writes an integer network that was lowered with `wide_bits=8`.

    Input and output are int8, `[1, height, width, channels]`.

    Args:
        network: as it was lowered from ``folded``.
        folded: the integers and their scales.
        path: file to write.
        four_bits: weights that fit into int4 are stored so, and not as int8.

    Raises:
        UnsupportedNetworkError: an activation below 8 bits, a use that LiteRT lacks, or no layer
            for ``four_bits``.
    """
    if four_bits and not any(
        isinstance(step, Convolution) and _fits_four_bits(step, folded) for step in network.steps
    ):
        raise UnsupportedNetworkError(NO_FOUR_BITS)
    path.write_bytes(_Writer(folded, four_bits).write(network))


def litert_runner(path: Path, network: IntegerNetwork) -> Run:
    """Returns a callable from a batch of the only input to the outputs, both in torch's order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), results = interpreter.get_input_details(), interpreter.get_output_details()

    def infer(sample: Array) -> Array:
        interpreter.set_tensor(given["index"], sample)
        interpreter.invoke()
        found = [interpreter.get_tensor(result["index"]).reshape(-1) for result in results]
        return np.concatenate(found)

    return real_runner(infer, network)


def real_runner(infer: Callable[[Array], Array], network: IntegerNetwork) -> Run:
    """A `Run` from what takes one int8 sample `[1, H, W, C]` and gives all its int8 outputs."""

    def run(inputs: object) -> Outputs:
        real = np.asarray(tensors(inputs)[0])
        integers = network.quantize_input(real).astype(np.int8)
        outputs = [infer(sample[None]).reshape(-1).astype(np.int64) for sample in integers]
        return network.real_outputs(np.stack(outputs).reshape(-1, *network.output_shape))

    return run


def _fits_four_bits(step: Convolution, folded: FoldedModel) -> bool:
    """Whether runtimes have a kernel for the layer with int4 weights, and its integers fit."""
    one_group = step.groups == 1 or step.is_depthwise
    return one_group and folded.layers[step.module].integer_bits <= _FOUR_BITS


class _Writer:
    def __init__(self, folded: FoldedModel, four_bits: bool) -> None:
        from ai_edge_litert import schema_py_generated

        self.schema = schema_py_generated
        self.folded, self.four_bits = folded, four_bits
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
        graph.inputs = [first]
        graph.outputs = [self.indices[output.tensor.name] for output in network.outputs]
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
            self._average_pool(step, inputs[0])
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
        narrow = self.four_bits and _fits_four_bits(step, self.folded)
        dense = given.shape[:2] == (1, 1) and step.window.kernel == (1, 1) and step.groups == 1
        axis = 0
        if dense and narrow:
            # A flattened image is the image here: the kernel covers all of it.
            weight = weight.reshape(len(weight), *self.tensors[source].shape[1:])
        elif dense:
            weight = weight.reshape(len(weight), -1)
        elif step.is_depthwise:
            weight, axis = weight.transpose(3, 1, 2, 0), 3
        # Twelve bytes a channel that no kernel with int4 weights reads.
        steps_scale = None if narrow else scale * given.quantization.scale
        operands = [
            source,
            self._constant(f"{step.module}.weight", weight, scale, axis, four_bits=narrow),
            self._constant(f"{step.module}.bias", steps, steps_scale),
        ]
        fused = self._fused(step)
        if dense and not narrow:
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
        version = _INT4_VERSION if narrow else _INT8_VERSION
        self._operator(name, version, operands, step.output, options, schema)

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

    def _average_pool(self, step: AveragePool, source: int) -> None:
        """A mean, of a corner of the image if the window leaves some.

        MEAN has no several windows, and no clamp. AVERAGE_POOL_2D can't change the scale, so that
        it would round twice.
        """
        given, (kh, kw), channels = step.inputs[0], step.window.kernel, step.output.shape[2]
        if step.output.shape[:2] != (1, 1) or _activation_of(step) != "NONE":
            # A depthwise layer of ones.
            ones = np.ones((1, kh, kw, channels), np.int8)
            scale = np.full(channels, 1.0 / (kh * kw))
            weight = self._constant(f"{step.name}.weight", ones, scale, 3, four_bits=self.four_bits)
            bias = self._constant(f"{step.name}.bias", np.zeros(channels, np.int32))
            options = self.schema.DepthwiseConv2DOptionsT()
            options.padding, options.depthMultiplier = self.schema.Padding.VALID, 1
            options.strideH, options.strideW = step.window.stride
            options.fusedActivationFunction = self._fused(step)
            version = _INT4_VERSION if self.four_bits else _INT8_VERSION
            operands, schema = [source, weight, bias], "DepthwiseConv2DOptions"
            self._operator("DEPTHWISE_CONV_2D", version, operands, step.output, options, schema)
            return
        if (kh, kw) != given.shape[:2]:
            corner = Tensor(f"{step.name}.corner", (kh, kw, channels), given.quantization)
            begin = self._constant(f"{step.name}.begin", np.zeros(4, np.int32))
            size = self._constant(f"{step.name}.size", np.array([1, kh, kw, channels], np.int32))
            options = self.schema.SliceOptionsT()
            self._operator("SLICE", 2, [source, begin, size], corner, options, "SliceOptions")
            source = self.indices[corner.name]
        axes = self._constant(f"{step.name}.axes", np.array([1, 2], np.int32))
        options = self.schema.ReducerOptionsT()
        options.keepDims = True
        self._operator("MEAN", 2, [source, axes], step.output, options, "ReducerOptions")

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
        if (q.kind, q.low, q.high) != ("int8_t", -128, 127):
            raise UnsupportedNetworkError(f"activations below 8 bits at {tensor.name!r}")
        self.indices[tensor.name] = self._tensor(
            tensor.name, (1, *tensor.shape), "int8", 0, [q.scale], [q.zero_point], 0
        )
        return self.indices[tensor.name]

    def _constant(
        self,
        name: str,
        values: Array,
        scale: Any = None,
        axis: int = 0,
        *,
        four_bits: bool = False,
    ) -> int:
        buffer = self.schema.BufferT()
        stored = nibbles(values) if four_bits else np.ascontiguousarray(values)
        buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
        self.buffers.append(buffer)
        scales = [] if scale is None else list(scale)
        zeros = [0] * len(scales)
        index = len(self.buffers) - 1
        kind = "int4" if four_bits else values.dtype.name
        return self._tensor(name, values.shape, kind, index, scales, zeros, axis)

    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        buffer: int,
        scales: list[float],
        zero_points: list[int],
        axis: int,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = int(getattr(self.schema.TensorType, kind.upper()))
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
