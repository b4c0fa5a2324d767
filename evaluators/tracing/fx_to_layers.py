"""The nodes of a traced graph as ``hardware`` layers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from evaluators.tracing.channel_dependency import BATCH_NORMS, TRANSPOSED, WEIGHTED
from evaluators.tracing.channel_groups import only_adds_axes, operation, shape_of
from hardware import Layer

_FOLDED = (*BATCH_NORMS, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_FOLDED_NAMES = frozenset(
    ["dropout", "dropout2d", "contiguous", "clone", "detach", "float", "getattr", "size", "dim"]
)
_PADS = (nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d)
_GLOBAL_POOLS = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.GELU, nn.SiLU, nn.Sigmoid,
    nn.Tanh, nn.LeakyReLU, nn.ELU, nn.PReLU, nn.Softplus,
)  # fmt: skip
_ACTIVATION_NAMES = frozenset({
    "relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "gelu", "silu", "sigmoid", "tanh",
    "leaky_relu", "elu", "clamp", "neg", "abs", "softplus", "exp",
})  # fmt: skip
_OPS = {
    "add": "add", "iadd": "add", "sub": "sub", "isub": "sub",
    "mul": "mul", "imul": "mul", "div": "div", "truediv": "div", "multiply": "mul",
    "maximum": "maximum", "minimum": "minimum", "cat": "concat", "concat": "concat",
    "flatten": "reshape", "view": "reshape", "reshape": "reshape", "squeeze": "reshape",
    "unsqueeze": "reshape", "getitem": "slice", "permute": "transpose", "transpose": "transpose",
    "chunk": "slice", "split": "slice", "expand": "reshape",
    "mean": "global_pool", "sum": "global_pool", "amax": "global_pool",
    "max_pool1d": "pool", "max_pool2d": "pool", "avg_pool1d": "pool", "avg_pool2d": "pool",
    "adaptive_avg_pool1d": "global_pool", "adaptive_avg_pool2d": "global_pool",
    "interpolate": "resize", "softmax": "softmax", "matmul": "matmul", "bmm": "matmul",
    "layer_norm": "layernorm", "scaled_dot_product_attention": "matmul", "pad": "pad",
}  # fmt: skip


class GraphLayers:
    """Turns the nodes of a traced graph into layers; folded ones pass their input on."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        self.graph_module = graph_module
        self.modules = dict(graph_module.named_modules())
        self.alias: dict[fx.Node, str] = {}
        self.padded: dict[fx.Node, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.names: set[str] = {n for n in self.modules if n}
        self.calls: Counter[str] = Counter()

    def build(self) -> Iterator[Layer]:
        """Yields the layers in the order of execution; called once."""
        inputs = 0
        for node in self.graph_module.graph.nodes:
            if node.op == "placeholder":
                if shape_of(node) is not None:
                    self.alias[node] = "input" if inputs == 0 else f"input_{inputs}"
                    inputs += 1
            elif node.op in ("call_module", "call_function", "call_method"):
                layer = self._layer(node)
                if layer is not None:
                    yield layer

    def _layer(self, node: fx.Node) -> Layer | None:
        sources = [n for n in node.all_input_nodes if n in self.alias]
        shape = shape_of(node)
        if shape is None or not sources:
            # Values of several tensors, whose parts appear as getitem nodes. A size is no tensor:
            # what is reshaped by it doesn't read what it was asked of.
            if sources and "tensor_meta" in node.meta:
                self.alias[node] = self.alias[sources[0]]
            return None
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, WEIGHTED):
            return self._weighted(node, module, sources[0], shape)
        op = self._op(node, module)
        if op is None:
            self.alias[node] = self.alias[sources[0]]
            if sources[0] in self.padded:
                self.padded[node] = self.padded[sources[0]]
            return None
        before = shape_of(sources[0])
        if op == "pad" and self._fold_pad(node, module, before or shape):
            self.alias[node] = self.alias[sources[0]]
            return None
        if op in ("add", "sub", "mul", "div", "maximum", "minimum") and len(sources) == 1:
            op = "activation"
        if op == "global_pool" and before is not None and math.prod(shape[2:]) > 1:
            op = "pool"
        kernel, stride, padding = _window(module, op, before or shape, shape)
        return Layer(
            self._name(node),
            op,
            tuple(self.alias[n] for n in sources),
            _unbatched(before or shape),
            _unbatched(shape),
            kernel,
            stride,
            padding,
            bias=False,
        )

    def _op(self, node: fx.Node, module: nn.Module | None) -> str | None:
        """The operator of a node without weights of its own kind; ``None``: folded away."""
        if module is None:
            name = operation(node)
            if name in _FOLDED_NAMES:
                return None
            if name == "getitem" and only_adds_axes(node):
                return "reshape"
            return "activation" if name in _ACTIVATION_NAMES else _OPS.get(name, name)
        kinds: tuple[tuple[type | tuple[type, ...], str | None], ...] = (
            (_FOLDED, None),
            (_PADS, "pad"),
            (_ACTIVATIONS, "activation"),
            (_GLOBAL_POOLS, "global_pool"),
            (_POOLS, "pool"),
            (nn.Flatten, "reshape"),
            (nn.Upsample, "resize"),
            (nn.Softmax, "softmax"),
            ((nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d), "layernorm"),
        )
        for kind, op in kinds:
            if isinstance(module, kind):
                return op
        return type(module).__name__.lower()

    def _fold_pad(self, node: fx.Node, module: nn.Module | None, before: tuple[int, ...]) -> bool:
        """Zero padding that only convolutions read becomes their own padding."""
        users = [self.modules.get(str(u.target)) for u in node.users if u.op == "call_module"]
        if len(users) != len(node.users) or not all(
            isinstance(u, (nn.Conv1d, nn.Conv2d)) for u in users
        ):
            return False
        amounts = module.padding if module is not None else node.args[1]
        value = getattr(module, "value", 0.0) if module is not None else 0.0
        if not isinstance(amounts, (tuple, list)) or value or len(amounts) != 2 * (len(before) - 2):
            return False
        numbers = [int(a) for a in amounts]
        if min(numbers) < 0:
            return False
        # torch lists the last dimension first, a Layer the first one.
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]
        self.padded[node] = (before, tuple(v for pair in pairs for v in pair))
        return True

    def _weighted(
        self, node: fx.Node, module: nn.Module, source: fx.Node, shape: tuple[int, ...]
    ) -> Layer:
        target = str(node.target)
        before = shape_of(source) or shape
        kernel: tuple[int, ...] = (1, 1)
        stride: tuple[int, ...] = (1, 1)
        padding: tuple[int, ...] = (0, 0)
        groups, op = 1, "linear"
        if not isinstance(module, nn.Linear):
            spec: Any = module
            groups = int(spec.groups)
            kernel = tuple(int(k) for k in spec.kernel_size)
            stride = tuple(int(s) for s in spec.stride)
            padding = _padding(spec, kernel)
            depthwise = groups == spec.in_channels == spec.out_channels and groups > 1
            op = "depthwise" if depthwise else "conv"
            op = "conv_transpose" if isinstance(module, TRANSPOSED) else op
            if source in self.padded:
                before, extra = self.padded[source]
                own = padding if len(padding) == len(extra) else _doubled(padding)
                padding = tuple(a + b for a, b in zip(own, extra, strict=True))
        has_bias = getattr(module, "bias", None) is not None or self._folds_norm(node)
        return Layer(
            self._name(node),
            op,
            (self.alias[source],),
            _unbatched(before),
            _unbatched(shape),
            kernel,
            stride,
            padding,
            groups,
            has_bias,
            module=target,
        )

    def _folds_norm(self, node: fx.Node) -> bool:
        """Whether a batch norm follows, whose shift becomes the layer's bias."""
        return any(
            u.op == "call_module" and isinstance(self.modules[str(u.target)], BATCH_NORMS)
            for u in node.users
        )

    def _name(self, node: fx.Node) -> str:
        if node.op == "call_module":
            target = str(node.target)
            self.calls[target] += 1
            name = target if self.calls[target] == 1 else f"{target}@{self.calls[target]}"
        else:
            name = node.name
            while name in self.names:
                name += "_"
            self.names.add(name)
        self.alias[node] = name
        return name


def _unbatched(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) > 1 else shape


def _doubled(padding: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(p for p in padding for _ in range(2))


def _padding(module: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    if module.padding == "valid":
        return (0,) * len(kernel)
    if module.padding == "same":
        spans = [d * (k - 1) for d, k in zip(module.dilation, kernel, strict=True)]
        return tuple(v for span in spans for v in (span // 2, span - span // 2))
    return tuple(int(p) for p in module.padding)


def _window(
    module: Any, op: str, before: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, stride and padding of a pooling layer; ones and zeros for the rest."""
    dims = max(1, len(before) - 2)
    if op == "global_pool":
        return before[2:] or (1,), (1,) * dims, (0,) * dims
    if op == "pool" and module is not None and hasattr(module, "kernel_size"):

        def spread(value: Any) -> tuple[int, ...]:
            return tuple(value) if isinstance(value, (tuple, list)) else (int(value),) * dims

        stride = module.stride if module.stride is not None else module.kernel_size
        return spread(module.kernel_size), spread(stride), spread(module.padding)
    if op == "pool":
        ratio = tuple(max(1, a // b) for a, b in zip(before[2:], shape[2:], strict=True))
        return ratio or (1,), ratio or (1,), (0,) * dims
    return (1,) * dims, (1,) * dims, (0,) * dims
