"""The folded network as a graph of the few operators that the integer kernels know.

Shapes are (height, width, channels), as the kernels store them; (C,) is (1, 1, C) and (C, L) is
(1, L, C).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from evaluators.compression.quantization import QuantizedInput
from evaluators.export.folding import FoldedModel, trace_module

Shape = tuple[int, int, int]


class UnsupportedNetworkError(ValueError):
    """The network has an operator that the integer kernels do not know."""


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution or pool; each pair is (vertical, horizontal).

    `padding` is what stands before the first row and column; what stands behind the last
    follows from the output's shape.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
        name: unique.
        op: input, conv (linear too), add, concat, clamp, round, max_pool, avg_pool, reshape or
            output.
        inputs: names of the producing nodes.
        shape: of the output.
        layer: conv, round: name of its module.
        groups: conv: number of groups.
        window: conv and pools.
        bounds: clamp: lowest and highest real value.
        order: conv: torch's column of each input element, where a flatten changed the order.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    layer: str = ""
    groups: int = 1
    window: Window = Window()
    bounds: tuple[float, float] = (-math.inf, math.inf)
    order: npt.NDArray[np.int64] | None = None


def build_graph(
    folded: FoldedModel, example_input: torch.Tensor
) -> tuple[list[Node], fx.GraphModule]:
    """Returns the operators in execution order, and the traced float module.

    The names of the nodes are those of the fx graph.

    Raises:
        UnsupportedNetworkError: an operator or a use of one that the kernels do not know.
    """
    traced = trace_module(folded.simulated())
    ShapeProp(traced).propagate(example_input)
    return _Builder(traced).build(), traced


class _Builder:
    def __init__(self, traced: fx.GraphModule) -> None:
        self.graph = traced.graph
        self.modules = dict(traced.named_modules())
        self.nodes: dict[str, Node] = {}
        self.alias: dict[str, str] = {}
        self.pads: dict[str, tuple[int, int]] = {}
        self.orders: dict[str, npt.NDArray[np.int64]] = {}
        self.called: set[str] = set()

    def build(self) -> list[Node]:
        for node in self.graph.nodes:
            if node.op == "output":
                self._output(node)
            elif _tensor_shape(node) is not None:
                self._convert(node)
        return list(self.nodes.values())

    def _output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node):
            raise UnsupportedNetworkError("the network returns more than one tensor")
        source = self._source(result)
        self._no_order(source, "the output")
        self.nodes["output"] = Node("output", "output", (source,), self.nodes[source].shape)

    def _convert(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if any(n.op == "input" for n in self.nodes.values()):
                raise UnsupportedNetworkError("the network has more than one input")
            self.nodes[node.name] = Node(node.name, "input", (), _shape(node))
            return
        if node.op == "get_attr":
            raise UnsupportedNetworkError(f"constant tensor {node.target!r} in the graph")
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        kind = type(module).__name__ if module is not None else _function_name(node)
        if isinstance(module, QuantizedInput) and isinstance(module.module, nn.Identity):
            self._add(node, "round", self._source(node.args[0]), layer=str(node.target))
        elif isinstance(module, QuantizedInput):
            self._weighted(node, module.module)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            raise UnsupportedNetworkError(
                f"layer {str(node.target)!r} reads its input in float: quantize it too"
            )
        elif kind in _HANDLERS:
            _HANDLERS[kind](self, node, module)
        else:
            where = str(node.target) if module is not None else node.name
            raise UnsupportedNetworkError(f"operator {kind} at {where!r}")

    def _weighted(self, node: fx.Node, module: nn.Module) -> None:
        name = str(node.target)
        if name in self.called:
            raise UnsupportedNetworkError(f"module {name!r} is called more than once")
        self.called.add(name)
        source = self._source(node.args[0])
        groups, window, order = 1, Window(), None
        if isinstance(module, nn.Linear):
            if len(_tensor_shape(node) or ()) != 2:
                raise UnsupportedNetworkError(f"linear layer {name!r} on more than one position")
            order = self.orders.get(source)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d)):
            if module.padding_mode != "zeros":
                raise UnsupportedNetworkError(f"{module.padding_mode} padding at {name!r}")
            self._no_order(source, name)
            groups = module.groups
            window = self._window(node, module, source)
        else:
            raise UnsupportedNetworkError(f"operator {type(module).__name__} at {name!r}")
        self._add(node, "conv", source, layer=name, groups=groups, window=window, order=order)

    def _window(self, node: fx.Node, module: Any, source: str) -> Window:
        kernel, stride = _pair(module.kernel_size), _pair(module.stride or module.kernel_size)
        dilation = _pair(getattr(module, "dilation", 1))
        padding = module.padding
        if isinstance(padding, str):
            total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            padding = tuple(t // 2 if padding == "same" else 0 for t in total)
        own = _pair(padding)
        if len(_tensor_shape(node) or ()) == 3:
            # One spatial dimension: it is the width.
            kernel, stride, dilation = (1, kernel[1]), (1, stride[1]), (1, dilation[1])
            own = (0, own[1])
        extra = self.pads.get(str(node.all_input_nodes[0].name), (0, 0))
        return Window(kernel, stride, (own[0] + extra[0], own[1] + extra[1]), dilation)

    def _add(self, node: fx.Node, op: str, *sources: str, **attributes: Any) -> None:
        self.nodes[node.name] = Node(node.name, op, sources, _shape(node), **attributes)
        if op in ("clamp", "round") and sources[0] in self.orders:
            self.orders[node.name] = self.orders[sources[0]]

    def _source(self, argument: object) -> str:
        if not isinstance(argument, fx.Node) or _tensor_shape(argument) is None:
            raise UnsupportedNetworkError(f"a constant operand {argument!r}")
        return self.alias.get(argument.name, argument.name)

    def _no_order(self, source: str, where: str) -> None:
        if source in self.orders:
            raise UnsupportedNetworkError(f"a flattened image is read by {where!r}, not by linear")

    def same(self, node: fx.Node, module: nn.Module | None) -> None:
        """Identity, dropout, and a softmax that only the output reads (argmax stays)."""
        source = node.args[0]
        if "oftmax" in (type(module).__name__ if module else _function_name(node)) and any(
            user.op != "output" for user in node.users
        ):
            raise UnsupportedNetworkError(f"softmax inside the network at {node.name!r}")
        self.alias[node.name] = self._source(source)
        if isinstance(source, fx.Node) and source.name in self.pads:
            self.pads[node.name] = self.pads[source.name]

    def clamp(self, node: fx.Node, module: nn.Module | None) -> None:
        """ReLU and its bounded relatives."""
        kind = type(module).__name__ if module is not None else _function_name(node)
        bounds = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(kind.lower().strip("_"))
        if bounds is None:
            values = [*node.args[1:3], *([None] * 2)]
            low = getattr(module, "min_val", None) if module else values[0]
            high = getattr(module, "max_val", None) if module else values[1]
            low = node.kwargs.get("min", node.kwargs.get("min_val", low))
            high = node.kwargs.get("max", node.kwargs.get("max_val", high))
            if kind.lower() == "hardtanh" and module is None:
                low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
            bounds = (_number(low, -math.inf), _number(high, math.inf))
        self._add(node, "clamp", self._source(node.args[0]), bounds=bounds)

    def add(self, node: fx.Node, module: nn.Module | None) -> None:
        """Sum of two tensors of one shape."""
        sources = [self._source(a) for a in node.args[:2]]
        for source in sources:
            self._no_order(source, node.name)
        shapes = {self.nodes[s].shape for s in sources} | {_shape(node)}
        if len(shapes) != 1 or node.kwargs.get("alpha", 1) != 1:
            raise UnsupportedNetworkError(f"broadcast or scaled addition at {node.name!r}")
        self._add(node, "add", *sources)

    def concat(self, node: fx.Node, module: nn.Module | None) -> None:
        """Concatenation along the channels."""
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        rank = len(_tensor_shape(node) or ())
        if dim not in (1, 1 - rank):
            raise UnsupportedNetworkError(f"concatenation along dimension {dim} at {node.name!r}")
        sources = [self._source(a) for a in _list(node.args[0])]
        for source in sources:
            self._no_order(source, node.name)
        self._add(node, "concat", *sources)

    def pool(self, node: fx.Node, module: nn.Module | None) -> None:
        """Max and average pooling with a window."""
        kind = type(module).__name__ if module is not None else _function_name(node)
        spec: Any = module if module is not None else _PoolCall(node)
        op = "max_pool" if "max" in kind.lower() else "avg_pool"
        source = self._source(node.args[0])
        window = self._window(node, spec, source)
        if op == "avg_pool" and (
            window.padding != (0, 0) or getattr(spec, "divisor_override", None) or spec.ceil_mode
        ):
            raise UnsupportedNetworkError(f"padded average pooling at {node.name!r}")
        self._add(node, op, source, window=window)

    def global_pool(self, node: fx.Node, module: nn.Module | None) -> None:
        """Mean or maximum over equal tiles, mostly over the whole image."""
        kind = type(module).__name__ if module is not None else _function_name(node)
        source = self._source(node.args[0])
        (h, w, c), (oh, ow, oc) = self.nodes[source].shape, _shape(node)
        if kind == "mean":
            given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", ())
            rank = len(_tensor_shape(node.all_input_nodes[0]) or ())
            dims = {d % rank for d in _list(given)}
            if dims != set(range(2, rank)):
                raise UnsupportedNetworkError(f"mean over dimensions {given} at {node.name!r}")
        if c != oc or h % oh or w % ow:
            raise UnsupportedNetworkError(f"uneven adaptive pooling at {node.name!r}")
        tile = (h // oh, w // ow)
        op = "max_pool" if "max" in kind.lower() else "avg_pool"
        self._add(node, op, source, window=Window(tile, tile))

    def reshape(self, node: fx.Node, module: nn.Module | None) -> None:
        """Flatten, view and squeeze: only the shape changes."""
        source = self._source(node.args[0])
        (h, w, c), shape = self.nodes[source].shape, _shape(node)
        if math.prod(shape) != h * w * c:
            raise UnsupportedNetworkError(f"reshape across the batch at {node.name!r}")
        if shape != (h, w, c):
            if c > 1 and h * w > 1:
                if shape[:2] != (1, 1):
                    raise UnsupportedNetworkError(f"reshape of an image at {node.name!r}")
                index = np.arange(c * h * w).reshape(c, h, w)
                self.orders[node.name] = index.transpose(1, 2, 0).reshape(-1)
            elif shape[2] > 1 and shape[0] * shape[1] > 1:
                raise UnsupportedNetworkError(f"reshape into an image at {node.name!r}")
        elif source in self.orders:
            self.orders[node.name] = self.orders[source]
        self._add(node, "reshape", source)

    def pad(self, node: fx.Node, module: nn.Module | None) -> None:
        """Zero padding becomes part of the convolutions that read it."""
        amounts: Any = getattr(module, "padding", None) if module else node.args[1]
        value = getattr(module, "value", 0) if module else [*node.args[2:], 0, 0][1]
        readers = [self.modules.get(str(u.target)) for u in node.users]
        if value or min(amounts) < 0 or not all(isinstance(r, QuantizedInput) for r in readers):
            raise UnsupportedNetworkError(f"padding before anything but layers at {node.name!r}")
        self.alias[node.name] = self._source(node.args[0])
        self.pads[node.name] = (amounts[2] if len(amounts) > 2 else 0, amounts[0])


class _PoolCall:
    """Arguments of a functional pool under the names of the module's attributes."""

    def __init__(self, node: fx.Node) -> None:
        given: dict[str, Any] = dict(
            zip(("kernel_size", "stride", "padding"), node.args[1:], strict=False)
        )
        given.update(node.kwargs)
        self.kernel_size = given["kernel_size"]
        self.stride = given.get("stride") or self.kernel_size
        self.padding = given.get("padding", 0)
        self.dilation = given.get("dilation", 1)
        self.ceil_mode = given.get("ceil_mode", False)
        if len(node.args) > 4:
            raise UnsupportedNetworkError(f"pool {node.name!r}: pass its options by name")


_Handler = Callable[[_Builder, fx.Node, "nn.Module | None"], None]


def _handlers() -> dict[str, _Handler]:
    names: dict[_Handler, str] = {
        _Builder.same: "Identity Dropout Dropout1d Dropout2d dropout contiguous clone detach "
        "Softmax LogSoftmax softmax log_softmax",
        _Builder.clamp: "ReLU ReLU6 Hardtanh relu relu_ relu6 hardtanh clamp clamp_",
        _Builder.add: "add iadd add_",
        _Builder.concat: "cat concat concatenate",
        _Builder.pool: "MaxPool1d MaxPool2d AvgPool1d AvgPool2d "
        "max_pool1d max_pool2d avg_pool1d avg_pool2d",
        _Builder.global_pool: "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d "
        "AdaptiveMaxPool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d "
        "adaptive_max_pool2d mean",
        _Builder.reshape: "Flatten Unflatten flatten view reshape squeeze unsqueeze unflatten",
        _Builder.pad: "ZeroPad1d ZeroPad2d ConstantPad1d ConstantPad2d pad",
    }
    return {name: handler for handler, listed in names.items() for name in listed.split()}


_HANDLERS = _handlers()


def _function_name(node: fx.Node) -> str:
    target = node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    return name.strip("_")


def _tensor_shape(node: fx.Node) -> tuple[int, ...] | None:
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(int(s) for s in shape)


def _shape(node: fx.Node) -> Shape:
    sizes = (_tensor_shape(node) or ())[1:]
    if not 1 <= len(sizes) <= 3:
        raise UnsupportedNetworkError(f"tensor of shape {sizes} at {node.name!r}")
    if len(sizes) == 1:
        return (1, 1, sizes[0])
    return (1, sizes[1], sizes[0]) if len(sizes) == 2 else (sizes[1], sizes[2], sizes[0])


def _pair(value: Any) -> tuple[int, int]:
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return (int(values[0]), int(values[-1]))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _number(value: Any, default: float) -> float:
    return default if value is None else float(value)
