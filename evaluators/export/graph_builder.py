"""From a program's operations to the graph of the integer kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.export.graph import (
    Node,
    Shape,
    UnsupportedNetworkError,
    Window,
    pair,
    shape_of,
    sizes,
)
from evaluators.export.module_graph import is_inside_layer, is_nothing, node_names
from evaluators.tracing.program import Operation, Program, Value

Order = npt.NDArray[np.int64]

Handler = Callable[["GraphBuilder", Operation], None]

_VIEWS = frozenset({"reshape", "round"})
"""Nodes that may share their input's bytes."""


@dataclass(frozen=True)
class Layers:
    """What of a program is a layer, and how its inputs are rounded.

    Attributes:
        calls: operations that compute a layer -> its name.
        norms: batch-norms that are a part of the layer before them.
        rounded: layers whose input is rounded; None: all.
        roundings: node -> the module behind it that rounds it.
        outputs: names of the tensors that the network gives, see `graph.output_names`.
    """

    calls: Mapping[Operation, str]
    norms: Collection[str]
    rounded: Collection[str] | None
    roundings: Mapping[str, str]
    outputs: Sequence[str] = ("",)


class GraphBuilder:
    """Turns operations into nodes, one after the other.

    Attributes:
        program: what is read.
        layers: its layers.
        handlers: what makes nodes of operations that are no layers, by ATen's names.
        input_shape: how the network's input is stored.
        nodes: those made so far, by name.
        sources: the node that holds a value.
        pads: zeros before the first row and column of a value that only layers read.
        orders: torch's position of each element of a flattened image, by node.
    """

    def __init__(
        self,
        program: Program,
        layers: Layers,
        handlers: Mapping[str, Handler],
        input_shape: Callable[[Program, Value], Shape],
    ) -> None:
        self.program, self.layers, self.handlers = program, layers, handlers
        self.input_shape = input_shape
        self.names = node_names(program, layers.calls)
        self.nodes: dict[str, Node] = {}
        self.sources: dict[Value, str] = {}
        self.pads: dict[Value, tuple[int, int]] = {}
        self.orders: dict[str, Order] = {}
        self.called: set[str] = set()

    def build(self) -> list[Node]:
        """Returns all nodes."""
        if len(self.program.inputs) != 1:
            raise UnsupportedNetworkError("the network has more than one input")
        (given,) = self.program.inputs
        if not given.dtype.is_floating_point:
            raise UnsupportedNetworkError(f"the network's input {given.name!r} is of {given.dtype}")
        self.put(Node(given.name, "input", (), self.input_shape(self.program, given)), given)
        for operation in self.program.live():
            self._convert(operation)
        for index, value in enumerate(self.program.outputs):
            self._output(index, value)
        return list(self.nodes.values())

    def _output(self, index: int, value: Value) -> None:
        """Makes the node of an output; of several each has a tensor that nothing else reads."""
        own = self.layers.outputs[index]
        where = f"the output {own!r}" if own else "the output"
        source = self.source(value, where)
        self.no_order(source, where)
        if len(self.program.outputs) > 1 and self._is_read(source):
            raise UnsupportedNetworkError(f"{where} is read by the network, or another output too")
        # A layer may have this name, too.
        name = "output"
        while name in self.nodes:
            name += "_"
        self.nodes[name] = Node(name, "output", (source,), self.nodes[source].shape)

    def _is_read(self, source: str) -> bool:
        """Whether a node's tensor has readers, or is the network's input."""
        root = self._root(source)
        return self.nodes[root].op == "input" or any(
            root in map(self._root, node.inputs)
            for node in self.nodes.values()
            if node.op not in _VIEWS
        )

    def _root(self, name: str) -> str:
        """The node whose bytes a view shows."""
        node = self.nodes[name]
        return self._root(node.inputs[0]) if node.op in _VIEWS else name

    def where(self, operation: Operation) -> str:
        """The layer that a message about an operation names."""
        return operation.module or self.names[operation]

    def refusal(self, operation: Operation, argument: str) -> UnsupportedNetworkError:
        """The error for an argument's value that the kernels don't know."""
        value = operation.arguments.get(argument)
        return UnsupportedNetworkError(
            f"{operation.kind} with {argument}={value!r} at {self.where(operation)!r}"
        )

    def source(self, value: Value | None, where: str) -> str:
        """The node that holds a value."""
        if value is None or value not in self.sources:
            name = self.program.parameter(value) or "a number"
            raise UnsupportedNetworkError(f"a constant operand ({name}) at {where!r}")
        return self.sources[value]

    def data(self, operation: Operation) -> tuple[Value, str]:
        """The first argument and the node that holds it."""
        value = next(iter(operation.inputs), None)
        if value is None:
            raise UnsupportedNetworkError(
                f"operator {operation.kind} without an input at {self.where(operation)!r}"
            )
        return value, self.source(value, self.where(operation))

    def no_order(self, source: str, where: str) -> None:
        """Refuses a flattened image for what can't sort its columns."""
        if source in self.orders:
            raise UnsupportedNetworkError(f"a flattened image is read by {where!r}, not by linear")

    def add(
        self,
        operation: Operation,
        op: str,
        *sources: str,
        window: Window | None = None,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        order: Order | None = None,
    ) -> None:
        """Makes the node of an operation."""
        shape = shape_of(operation.output, self.where(operation))
        name = self.names[operation]
        if operation.output.shape[:1] != (self.program.batch,):
            raise UnsupportedNetworkError(f"{operation.kind} across the batch at {name!r}")
        if order is not None:
            self.orders[name] = order
        self.put(
            Node(name, op, sources, shape, window=window or Window(), bounds=bounds),
            operation.output,
        )

    def reads_as_layer(self, operation: Operation) -> bool:
        """Whether a value goes into a layer's convolution, which can pad it with zeros."""
        return operation in self.layers.calls and operation.kind.startswith("conv")

    def put(self, node: Node, value: Value) -> None:
        """Notes the node that holds a value, and its rounding behind it."""
        self.nodes[node.name] = node
        self.sources[value] = node.name
        rounding = self.layers.roundings.get(node.name)
        if rounding is not None:
            self.nodes[rounding] = Node(rounding, "round", (node.name,), node.shape, rounding)
            self.sources[value] = rounding
            if node.name in self.orders:
                self.orders[rounding] = self.orders[node.name]

    def _convert(self, operation: Operation) -> None:
        if not operation.inputs:
            # A tensor made anew at each call: what reads it is refused.
            return
        if operation in self.layers.calls:
            self._layer(operation)
        elif is_nothing(operation, self.layers.norms):
            self.sources[operation.output] = self.data(operation)[1]
        elif operation.kind not in self.handlers:
            raise UnsupportedNetworkError(f"operator {operation.kind} at {self.where(operation)!r}")
        else:
            self._check_alone(operation)
            self.handlers[operation.kind](self, operation)

    def _check_alone(self, operation: Operation) -> None:
        """A layer's module is called as a whole: only zeros may come before its convolution."""
        inside = is_inside_layer(operation, self.layers.calls)
        readers = self.program.users(operation.output)
        if inside and not all(self.reads_as_layer(r) for r in readers):
            raise UnsupportedNetworkError(
                f"operator {operation.kind} inside of the layer {operation.module!r}"
            )

    def _layer(self, operation: Operation) -> None:
        name = self.layers.calls[operation]
        if self.layers.rounded is not None and name not in self.layers.rounded:
            raise UnsupportedNetworkError(
                f"layer {name!r} reads its input in float: quantize it too"
            )
        if name in self.called:
            raise UnsupportedNetworkError(f"module {name!r} is called more than once")
        self.called.add(name)
        value, source = self.data(operation)
        groups, window, order = 1, Window(), None
        if operation.kind == "linear":
            if len(operation.output.shape) != 2:
                raise UnsupportedNetworkError(f"linear layer {name!r} on more than one position")
            order = self.orders.get(source)
        elif operation.kind in ("conv1d", "conv2d"):
            self.no_order(source, name)
            groups = int(str(operation.arguments["groups"]))
            window = self._convolution(operation, value)
        else:
            raise UnsupportedNetworkError(f"operator {operation.kind} at {name!r}")
        shape = shape_of(operation.output, name)
        node = Node(
            self.names[operation], "conv", (source,), shape, name, groups, window, order=order
        )
        self.put(node, operation.output)

    def _convolution(self, operation: Operation, value: Value) -> Window:
        dims = len(operation.output.shape) - 2
        weight = operation.value("weight")
        assert weight is not None
        kernel = weight.shape[2:]
        stride, dilation = (sizes(operation.arguments[n], dims) for n in ("stride", "dilation"))
        padding = operation.arguments["padding"]
        if isinstance(padding, str):
            spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            padding = [span // 2 if padding == "same" else 0 for span in spans]
        own = pair(sizes(padding, dims), 0)
        before = self.pads.get(value, (0, 0))
        return Window(
            pair(kernel, 1),
            pair(stride, 1),
            (own[0] + before[0], own[1] + before[1]),
            pair(dilation, 1),
        )
