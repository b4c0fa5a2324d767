"""The network in integers only: what a microcontroller computes, as a Python reference.

Every tensor is stored as its reader wants it. If all readers are layers of one input quantization,
or the network rounds the tensor itself (`storage.as_stored`), the producer writes those bytes;
clamps, max pools and concatenations commute with rounding and pass the wish on to their inputs.
What a network still keeps in float, operands of sums and means and tensors whose readers
disagree, is stored in 32 bits (or 16), and a layer among such readers gets its rounded copy. The
outputs are 32 bits wide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from evaluators.export import fixed_point, recurrent
from evaluators.export.fixed_point import Quantization
from evaluators.export.folding import FoldedModel, QuantizedLayer
from evaluators.export.graph import Node, UnsupportedNetworkError, Window, output_names
from evaluators.export.graph_operators import build_graph
from evaluators.export.integer_network import IntegerNetwork, Output
from evaluators.export.module_graph import as_module
from evaluators.export.steps import (
    AveragePool,
    Concatenation,
    Convolution,
    MaxPool,
    Step,
    Sum,
    Tensor,
)

_WIDE_HEADROOM = 8.0
"""Of the 16 times that 32-bit storage leaves, what a layer's accumulators may use."""


def lower(
    folded: FoldedModel,
    example_input: torch.Tensor,
    calibration_inputs: Iterable[torch.Tensor] | None = None,
    wide_bits: int = 32,
) -> IntegerNetwork:
    """Turns a folded network into integer operators.

    Args:
        folded: every layer with at most 8-bit weights and inputs.
        example_input: `[N, ...]`.
        calibration_inputs: batches that the ranges of wide tensors are read from. Without them,
            `example_input`.
        wide_bits: storage of what the network keeps in float, 32 or 16. At 16 about one in a
            hundred of the rounded activations behind it moves by a step. 8 is for LiteRT, which
            has nothing wider; it rounds the output too.

    Raises:
        UnsupportedNetworkError: the kernels lack an operator or a bit-width.
    """
    batches = calibration_inputs if calibration_inputs is not None else [example_input]
    return _prepare(folded, batches, wide_bits).build()


def wide_tensors(
    folded: FoldedModel, calibration_inputs: Iterable[torch.Tensor]
) -> dict[str, Quantization]:
    """Tensors that training left in float, and the bytes to store each in.

    Returns:
        node's name -> 8-bit quantization: a reading layer's own if there is one, else over the
        range seen. The output, which stays wide, is not among them.

    Raises:
        UnsupportedNetworkError: as `lower`.
    """
    return _prepare(folded, calibration_inputs, 8).widened()


def _prepare(folded: FoldedModel, batches: Iterable[torch.Tensor], wide_bits: int) -> _Lowering:
    for layer in folded.layers.values():
        if layer.bits > 8 or (layer.input is not None and layer.input.bits > 8):
            raise UnsupportedNetworkError(f"layer {layer.name!r} uses more than 8 bits")
    nodes = build_graph(folded)
    for layer in folded.matrices.values():
        if layer.bits > 8:
            raise UnsupportedNetworkError(f"layer {layer.name!r} uses more than 8 bits")
    for name in sorted(folded.inputs.keys() - folded.layers.keys() - recurrent.modules(folded)):
        if not isinstance(folded.plain.get_submodule(name), nn.Identity):
            raise UnsupportedNetworkError(f"layer {name!r} keeps float weights")
    ranges = _Ranges(as_module(folded, folded.simulated()))
    for batch in batches:
        with torch.no_grad():
            ranges.run(batch)
    return _Lowering(folded, nodes, ranges.ranges, wide_bits)


class _Ranges(fx.Interpreter):
    """Lowest and highest value of every tensor over all batches run."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.ranges: dict[str, tuple[float, float]] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and result.numel():
            low, high = self.ranges.get(n.name, (0.0, 0.0))
            self.ranges[n.name] = (min(low, float(result.min())), max(high, float(result.max())))
        return result


class _Lowering:
    def __init__(
        self,
        folded: FoldedModel,
        nodes: list[Node],
        ranges: dict[str, tuple[float, float]],
        wide_bits: int,
    ) -> None:
        self.folded = folded
        self.layers = folded.layers | recurrent.matrices(folded)
        self.wide_bits = wide_bits
        self.nodes = {n.name: n for n in nodes}
        self.ranges = ranges
        self.readers: dict[str, list[Node]] = {n.name: [] for n in nodes}
        for node in nodes:
            for source in node.inputs:
                self.readers[source].append(node)
        # A clamp that alone reads a producer is done while the producer writes.
        self.fused = {
            n.name: n.inputs[0]
            for n in nodes
            if n.op == "clamp"
            and len(self.readers[n.inputs[0]]) == 1
            and self.nodes[n.inputs[0]].op in ("conv", "add", "avg_pool")
        }
        self.stored: dict[str, Tensor] = {}
        self.wide: dict[str, Quantization] = {}
        self.copies: dict[tuple[str, Quantization], Tensor] = {}
        self.steps: list[Step] = []

    def build(self) -> IntegerNetwork:
        self._choose_storage()
        for node in self.nodes.values():
            self._emit(node)
        (given,) = (self.stored[n.name] for n in self.nodes.values() if n.op == "input")
        found = [self.stored[n.name] for n in self.nodes.values() if n.op == "output"]
        values = self.folded.program.outputs
        names = output_names(self.folded.output) if len(values) > 1 else ("",)
        outputs = [
            Output(name, tensor, len(value.shape) - 1)
            for name, tensor, value in zip(names, found, values, strict=True)
        ]
        return IntegerNetwork(given, tuple(outputs), tuple(self.steps))

    def _choose_storage(self) -> None:
        """Walks backwards: what the readers of a tensor want is known before the tensor is."""
        wishes: dict[str, set[Quantization | None]] = {n: set() for n in self.nodes}
        for node in reversed(list(self.nodes.values())):
            if node.op == "output":
                own = self._wide(node.inputs[0], 8 if self.wide_bits == 8 else 32)
            else:
                own = self._own(node, wishes[node.name])
            self.stored[node.name] = Tensor(node.name, node.shape, own)
            for source in node.inputs:
                wishes[source].add(self._wish(node, own))

    def widened(self) -> dict[str, Quantization]:
        """What `_choose_storage` found no single reader's quantization for."""
        self._choose_storage()
        return self.wide

    def _own(self, node: Node, wanted: set[Quantization | None]) -> Quantization:
        if node.op == "round":
            return self._rounding(node)
        if node.op == "recurrent":
            return recurrent.STATE
        single = next(iter(wanted)) if len(wanted) == 1 else None
        if single is not None:
            return single
        bytes_wide = [w for w in wanted if w is not None and w.levels == 255]
        if self.wide_bits == 8 and bytes_wide:
            own = max(bytes_wide, key=lambda w: w.scale)
        else:
            own = self._wide(node.name, self.wide_bits)
        self.wide[node.name] = own
        return own

    def _rounding(self, node: Node) -> Quantization:
        given = self.folded.inputs[node.layer]
        return fixed_point.byte(given.scale, given.zero_point, given.bits)

    def _wide(self, name: str, bits: int) -> Quantization:
        low, high = self.ranges[name]
        if bits == 8:
            return fixed_point.narrow(low, high)
        # A layer's sums must not leave 32 bits, whatever the input.
        reach = self._reach(name) / _WIDE_HEADROOM if bits == 32 else 0.0
        return fixed_point.wide(max(-low, high, reach), bits)

    def _reach(self, name: str) -> float:
        """Bound of what a layer's accumulator and its offset stand for, 0 behind other nodes."""
        node = self.nodes[name]
        if node.op in ("max_pool", "concat", "reshape", "clamp"):
            return max(self._reach(source) for source in node.inputs)
        if node.op != "conv":
            return 0.0
        layer = self.folded.layers[node.layer]
        assert layer.input is not None
        rows = np.abs(_kernel_order(layer, node).astype(np.int64)).reshape(layer.channels, -1)
        # Once for the inputs as they are stored, once for their zero point.
        sums = 256.0 * layer.input.scale * layer.scale.astype(np.float64) * rows.sum(1)
        return float(np.max(sums + np.abs(layer.bias if layer.bias is not None else 0.0)))

    def _wish(self, node: Node, own: Quantization) -> Quantization | None:
        """How a node wants its input; None: wide."""
        if node.op in ("conv", "recurrent"):
            given = self.folded.inputs.get(node.layer)
            assert given is not None
            return fixed_point.byte(given.scale, given.zero_point, given.bits)
        commutes = node.op in ("max_pool", "concat", "reshape", "output", "clamp", "round")
        return own if commutes else None

    def _emit(self, node: Node) -> None:
        if node.op == "input" or node.name in self.fused.values():
            return
        name, tensor = node.name, self.stored[node.name]
        bounds = tensor.quantization.clamped(*node.bounds)
        if node.name in self.fused:
            node = replace(self.nodes[self.fused[name]], name=name)
        if node.op == "conv":
            (source,) = node.inputs
            own = self._wish(node, tensor.quantization)
            assert own is not None
            self.steps.append(self._convolution(node, self._as(source, own), tensor, bounds))
        elif node.op == "recurrent":
            self._emit_recurrent(node, tensor)
        elif node.op == "add":
            operands = tuple(self.stored[s] for s in node.inputs)
            self.steps.append(_sum(name, operands, tensor, bounds))
        elif node.op == "avg_pool":
            source_tensor = self.stored[node.inputs[0]]
            self.steps.append(_mean(name, source_tensor, tensor, bounds, node.window))
        else:
            self._emit_alike(node, tensor, bounds)

    def _emit_recurrent(self, node: Node, tensor: Tensor) -> None:
        wanted = self._wish(node, tensor.quantization)
        assert wanted is not None
        source = self._as(node.inputs[0], wanted)
        kind = type(self.folded.plain.get_submodule(node.layer)).__name__.lower()
        fraction = recurrent.fraction_bits(self.layers, node.layer)
        made = []
        for part in recurrent.MATRICES:
            layer = self.layers[f"{node.layer}.{part}"]
            assert layer.input is not None
            given = fixed_point.byte(layer.input.scale, layer.input.zero_point, 8)
            shape = (1, 1, layer.weight.shape[1])
            read = wanted if part == recurrent.MATRICES[0] else given
            stored = recurrent.gates_storage(fraction)
            product = Tensor(f"{node.name}.{part}", (1, 1, layer.channels), stored)
            single = Node(product.name, "conv", (), product.shape, layer.name)
            frame = Tensor(f"{product.name}.read", shape, read)
            made.append(self._convolution(single, frame, product, (stored.low, stored.high)))
        bounds = (tensor.quantization.low, tensor.quantization.high)
        products = (made[0], made[1])
        self.steps.append(
            recurrent.Recurrent(node.name, (source,), tensor, bounds, kind, products, fraction)
        )

    def _emit_alike(self, node: Node, tensor: Tensor, bounds: tuple[int, int]) -> None:
        """Operators whose inputs and output are stored alike."""
        inputs = tuple(self._as(s, tensor.quantization) for s in node.inputs)
        if node.op == "max_pool":
            self.steps.append(MaxPool(node.name, inputs, tensor, bounds, node.window))
        elif node.op == "concat":
            self.steps.append(Concatenation(node.name, inputs, tensor, bounds))
        elif node.op == "clamp":
            self.steps.append(_sum(node.name, inputs, tensor, bounds))
        else:
            # A view: the same bytes, under another shape or in the place of a rounding.
            self.stored[node.name] = replace(inputs[0], shape=node.shape)

    def _as(self, source: str, quantization: Quantization) -> Tensor:
        """The tensor in this quantization, rounded again if it is stored in another."""
        tensor = self.stored[source]
        if tensor.quantization == quantization:
            return tensor
        key = (tensor.name, quantization)
        if key not in self.copies:
            copy = Tensor(f"{tensor.name}.{len(self.copies)}", tensor.shape, quantization)
            bounds = (quantization.low, quantization.high)
            self.steps.append(_sum(copy.name, (tensor,), copy, bounds))
            self.copies[key] = copy
        return replace(self.copies[key], shape=tensor.shape)

    def _convolution(
        self, node: Node, source: Tensor, tensor: Tensor, bounds: tuple[int, int]
    ) -> Convolution:
        layer = self.layers[node.layer]
        weight = _kernel_order(layer, node)
        bias = layer.bias if layer.bias is not None else np.zeros(layer.channels)
        given, output = source.quantization, tensor.quantization
        rows = weight.astype(np.int64).reshape(len(weight), -1)
        factor = given.scale * layer.scale.astype(np.float64) / output.scale
        offset = fixed_point.folded_offset(
            bias.astype(np.float64) / output.scale, factor, rows.sum(1), given, output.zero_point
        )
        largest = np.abs(rows).sum(1) * max(-given.low, given.high)
        requantization = fixed_point.requantization(factor, offset, largest)
        return Convolution(
            node.name, (source,), tensor, bounds, layer.name, weight, storage_bits(layer.bits),
            layer.bias is not None, requantization, node.window, node.groups, layer.scheme,
            layer.zeros,
        )  # fmt: skip


def storage_bits(bits: int) -> int:
    """Width that weights of `bits` are stored with: the next of 2, 4, 8, 16."""
    return next(b for b in (2, 4, 8, 16) if b >= bits)


def _sum(name: str, operands: tuple[Tensor, ...], tensor: Tensor, bounds: tuple[int, int]) -> Sum:
    factors = [t.quantization.scale / tensor.quantization.scale for t in operands]
    if all(t.quantization.item_bytes == 1 for t in (*operands, tensor)) and (
        found := fixed_point.byte_scaling(factors)
    ):
        return Sum(name, operands, tensor, bounds, tuple(found[0]), found[1], True)
    widest = max(t.quantization.item_bytes for t in operands)
    multipliers, shift = fixed_point.scaling(factors, 2 ** (8 * widest))
    return Sum(name, operands, tensor, bounds, tuple(multipliers), shift, False)


def _mean(
    name: str, source: Tensor, tensor: Tensor, bounds: tuple[int, int], window: Window
) -> AveragePool:
    n = window.kernel[0] * window.kernel[1]
    given, output = source.quantization, tensor.quantization
    factor = given.scale / output.scale / n
    if given.item_bytes == 1:
        offset = output.zero_point - given.zero_point * n * factor
        requantization = fixed_point.requantization(
            np.array([factor]), np.array([offset]), np.array([n * max(-given.low, given.high)])
        )
        return AveragePool(name, (source,), tensor, bounds, window, requantization)
    (multiplier,), shift = fixed_point.scaling([factor], 2 ** (8 * given.item_bytes) * n)
    return AveragePool(name, (source,), tensor, bounds, window, None, multiplier, shift)


def _kernel_order(layer: QuantizedLayer, node: Node) -> npt.NDArray[np.int8]:
    """Weights as (out, kh, kw, in), a linear layer's columns in the order of the stored image."""
    weight = layer.weight.astype(np.int8)
    if weight.ndim == 2:
        columns = weight if node.order is None else weight[:, node.order]
        return np.ascontiguousarray(columns[:, None, None, :])
    if weight.ndim == 3:
        weight = weight[:, :, None, :]
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
