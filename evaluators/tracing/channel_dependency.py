"""Which layers' output channels are tied, and which must stay: a data-flow pass over an fx graph.

Every tensor of the graph carries, for its channel axis, the list of layers whose outputs it is
made of. Element-wise operations tie those layers, a concatenation lists them one after the
other, and an operation that this pass can't see through pins them: their channels stay, with
the reason. NNI's own fx dependency code (``nni.compression.speedup.dependency``) knows neither
1-D convolutions nor reused modules nor attention, so :func:`merge_nni_groups` only adds what it
finds to what is found here.
"""

from __future__ import annotations

import math
from typing import Any

from torch import fx, nn

from evaluators.nni_imports import nni_dependency
from evaluators.tracing.channel_groups import (
    Channels,
    Segment,
    Ties,
    only_adds_axes,
    operation,
    shape_of,
)

CONVS = (nn.Conv1d, nn.Conv2d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
WEIGHTED = (*CONVS, *TRANSPOSED, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

_SAME_CHANNELS = (
    *BATCH_NORMS,
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.LeakyReLU,
    nn.ELU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.Upsample,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.ConstantPad1d,
    nn.ConstantPad2d,
)
_SAME_NAMES = frozenset(
    [
        "relu",
        "relu6",
        "hardtanh",
        "hardswish",
        "hardsigmoid",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "leaky_relu",
        "elu",
        "dropout",
        "dropout2d",
        "max_pool1d",
        "max_pool2d",
        "avg_pool1d",
        "avg_pool2d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "interpolate",
        "contiguous",
        "clamp",
        "clone",
        "detach",
        "float",
        "neg",
        "pad",
        "abs",
    ]
)
_BINARY_NAMES = frozenset(
    ["add", "iadd", "sub", "isub", "mul", "imul", "div", "truediv", "itruediv", "multiply"]
)
_SHAPE_NAMES = frozenset(["size", "getattr", "dim", "numel", "floordiv"])
_CONCATS = frozenset(("cat", "concat"))


class ChannelFlow:
    """Walks a traced graph once and fills :attr:`ties`.

    Args:
        graph_module: the traced model, after ``ShapeProp``.
        reused: names of modules that the graph calls more than once.
    """

    def __init__(self, graph_module: fx.GraphModule, reused: frozenset[str] = frozenset()) -> None:
        self.graph_module = graph_module
        self.modules = dict(graph_module.named_modules())
        self.reused = reused
        self.ties = Ties()
        self.flow: dict[fx.Node, Channels] = {}

    def analyse(self) -> Ties:
        """Visits every node; returns the ties."""
        for node in self.graph_module.graph.nodes:
            self._visit(node)
        return self.ties

    # -- one node ---------------------------------------------------------------------------

    def _visit(self, node: fx.Node) -> None:
        shape = shape_of(node)
        if node.op == "output":
            self._pin_inputs(node, "its channels are the network's output")
        elif node.op in ("placeholder", "get_attr"):
            if shape:
                self.flow[node] = self._fixed(shape)
        elif node.op == "call_module":
            self._module(node, shape)
        else:
            self._function(node, operation(node), shape)

    def _module(self, node: fx.Node, shape: tuple[int, ...] | None) -> None:
        name, module = str(node.target), self.modules[str(node.target)]
        if isinstance(module, WEIGHTED) and shape:
            self._weighted(node, name, module, shape)
        elif name in self.reused and any(True for _ in module.parameters()):
            self._opaque(node, shape, f"module '{name}' is used more than once")
        elif isinstance(module, nn.Flatten):
            self._reshape(node, shape)
        elif isinstance(module, _SAME_CHANNELS) or (
            isinstance(module, nn.PReLU) and module.num_parameters == 1
        ):
            self._same(node, shape)
        else:
            kind = type(module).__name__
            self._opaque(node, shape, f"it feeds '{name}' ({kind}), which mixes its channels")

    def _weighted(
        self, node: fx.Node, name: str, module: nn.Module, shape: tuple[int, ...]
    ) -> None:
        linear = isinstance(module, nn.Linear)
        axis = len(shape) - 1 if linear else 1
        size = shape[axis]
        self.ties.add(name, size)
        source = self._first(node)
        if name in self.reused:
            reason = f"module '{name}' is used more than once"
            self.ties.pin([name], reason)
            self._pin_inputs(node, f"it feeds '{name}', which is used more than once")
        if source is not None and source.axis != axis:
            self._pin_inputs(node, f"'{name}' reads it along another axis")
        groups = int(getattr(module, "groups", 1))
        if groups > 1:
            self._grouped(node, name, source, groups, size)
        self.flow[node] = Channels(axis, (Segment(name, size),))

    def _grouped(
        self, node: fx.Node, name: str, source: Channels | None, groups: int, size: int
    ) -> None:
        segments = () if source is None else source.segments
        single = segments[0] if len(segments) == 1 and segments[0].repeat == 1 else None
        if single is None or single.source is None:
            self._pin_inputs(node, f"grouped convolution '{name}' reads a mixture of layers")
            self.ties.pin([name], "its groups read a mixture of layers or the network's input")
        elif groups == single.size == size:
            self.ties.tie(single.source, name)
        elif groups == single.size:
            self._pin_inputs(node, f"'{name}' is depthwise with a channel multiplier")
            self.ties.pin([name], "depthwise convolution with a channel multiplier")
        else:
            self.ties.step(name, groups)
            self.ties.step(single.source, groups)

    def _function(self, node: fx.Node, name: str, shape: tuple[int, ...] | None) -> None:
        if name in _SHAPE_NAMES and shape is None:
            return
        if shape is None:
            self._opaque(node, shape, f"it feeds '{node.name}' ({name})")
        elif name in _SAME_NAMES:
            self._same(node, shape)
        elif name in _BINARY_NAMES:
            self._binary(node, shape)
        elif name in _CONCATS:
            self._concat(node, shape)
        elif name in ("mean", "sum", "amax"):
            self._reduce(node, shape)
        elif name in ("flatten", "view", "reshape", "squeeze", "unsqueeze", "getitem"):
            self._reshape(node, shape)
        else:
            self._opaque(node, shape, f"it feeds '{node.name}' ({name})")

    # -- transfer rules ---------------------------------------------------------------------

    def _same(self, node: fx.Node, shape: tuple[int, ...] | None) -> None:
        source = self._first(node)
        before = shape_of(node.all_input_nodes[0]) if node.all_input_nodes else None
        if source is None or shape is None or before is None:
            return
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        moved = len(before) != len(shape) or before[source.axis] != shape[source.axis]
        off_axis = isinstance(module, BATCH_NORMS) and source.axis != 1
        if moved or off_axis:
            self._opaque(node, shape, f"'{node.name}' changes its channel axis")
        else:
            self.flow[node] = source

    def _binary(self, node: fx.Node, shape: tuple[int, ...]) -> None:
        operands = [n for n in node.args if isinstance(n, fx.Node) and shape_of(n)]
        if len(operands) < 2:
            self._same(node, shape)
            return
        flows = [(self.flow.get(n), shape_of(n) or ()) for n in operands]
        # Axes are compared from the right, as broadcasting does.
        wide = [
            (f, f.axis - len(s))
            for f, s in flows
            if f is not None and s[f.axis] == shape[f.axis - len(s) + len(shape)]
        ]
        narrow = [f for f, s in flows if f is not None and all(f is not w for w, _ in wide)]
        for f in narrow:
            self.ties.pin(f.sources, f"'{node.name}' broadcasts its channels")
        lead = wide[0] if wide else None
        if lead is None:
            self._opaque(node, shape, f"'{node.name}' broadcasts its channels")
            return
        for f, axis in wide[1:]:
            if axis != lead[1] or not self._tie_segments(lead[0], f):
                self._opaque(
                    node, shape, f"'{node.name}' combines it with differently cut channels"
                )
                return
        self.flow[node] = Channels(lead[1] + len(shape), lead[0].segments)

    def _tie_segments(self, a: Channels, b: Channels) -> bool:
        if [(s.size, s.repeat) for s in a.segments] != [(s.size, s.repeat) for s in b.segments]:
            return False
        for s, t in zip(a.segments, b.segments, strict=True):
            if s.source is None or t.source is None:
                known = [x for x in (s.source, t.source) if x is not None]
                self.ties.pin(known, "it is combined with the network's input or a constant")
            else:
                self.ties.tie(s.source, t.source)
        return True

    def _concat(self, node: fx.Node, shape: tuple[int, ...]) -> None:
        tensors = node.args[0] if node.args else node.kwargs.get("tensors", ())
        # fx types an argument as anything; torch.cat takes a sequence.
        parts = [n for n in tensors if isinstance(n, fx.Node)]  # type: ignore[union-attr]  # see above
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        flows = [self.flow.get(n) for n in parts]
        if not isinstance(dim, int) or any(f is None for f in flows):
            self._opaque(node, shape, f"it feeds '{node.name}' (cat)")
            return
        known = [f for f in flows if f is not None]
        axis = dim % len(shape)
        if all(f.axis == axis for f in known):
            self.flow[node] = Channels(axis, tuple(s for f in known for s in f.segments))
        elif all(f.axis == known[0].axis and self._tie_segments(known[0], f) for f in known[1:]):
            self.flow[node] = known[0]
        else:
            self._opaque(node, shape, f"it feeds '{node.name}' (cat along another axis)")

    def _reduce(self, node: fx.Node, shape: tuple[int, ...]) -> None:
        source = self._first(node)
        before = shape_of(node.all_input_nodes[0])
        dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        if source is None or before is None or dims is None:
            self._opaque(node, shape, f"'{node.name}' sums over its channels")
            return
        cut = {d % len(before) for d in ((dims,) if isinstance(dims, int) else dims)}
        if source.axis in cut:
            self._opaque(node, shape, f"'{node.name}' sums over its channels")
            return
        shift = 0 if len(shape) == len(before) else sum(d < source.axis for d in cut)
        self.flow[node] = Channels(source.axis - shift, source.segments)

    def _reshape(self, node: fx.Node, shape: tuple[int, ...] | None) -> None:
        """Reshapes that keep channels together: flatten, ``[:, :, None, None]``, squeeze."""
        source = self._first(node)
        before = shape_of(node.all_input_nodes[0]) if node.all_input_nodes else None
        if source is None or before is None or shape is None:
            self._opaque(node, shape, f"it feeds '{node.name}'")
            return
        axis = source.axis
        lead_kept = shape[:axis] == before[:axis] and len(shape) > axis
        size, rest = before[axis], math.prod(before[axis + 1 :])
        if operation(node) in ("view", "reshape") and self._literal_at(node, axis):
            self._opaque(node, shape, f"'{node.name}' has its channel count written as a number")
        elif operation(node) == "getitem" and not only_adds_axes(node):
            self._opaque(node, shape, f"'{node.name}' picks some of its channels")
        elif lead_kept and shape[axis] == size and math.prod(shape[axis + 1 :]) == rest:
            self.flow[node] = source
        elif lead_kept and len(shape) == axis + 1 and shape[axis] == size * rest:
            flat = tuple(Segment(s.source, s.size, s.repeat * rest) for s in source.segments)
            self.flow[node] = Channels(axis, flat)
        else:
            self._opaque(node, shape, f"'{node.name}' cuts its channels in another way")

    @staticmethod
    def _literal_at(node: fx.Node, axis: int) -> bool:
        dims: Any = node.args[1:]
        if len(dims) == 1 and isinstance(dims[0], (tuple, list)):
            dims = dims[0]
        return len(dims) > axis and isinstance(dims[axis], int) and dims[axis] != -1

    # -- ends -------------------------------------------------------------------------------

    def _opaque(self, node: fx.Node, shape: tuple[int, ...] | None, reason: str) -> None:
        self._pin_inputs(node, reason)
        if shape:
            self.flow[node] = self._fixed(shape)

    def _pin_inputs(self, node: fx.Node, reason: str) -> None:
        for source in node.all_input_nodes:
            if source in self.flow:
                self.ties.pin(self.flow[source].sources, reason)

    def _first(self, node: fx.Node) -> Channels | None:
        return self.flow.get(node.all_input_nodes[0]) if node.all_input_nodes else None

    @staticmethod
    def _fixed(shape: tuple[int, ...]) -> Channels:
        axis = 1 if len(shape) > 1 else 0
        return Channels(axis, (Segment(None, shape[axis]),))


def merge_nni_groups(graph_module: fx.GraphModule, ties: Ties) -> None:
    """Adds the ties that NNI's own fx dependency analysis finds.

    Args:
        graph_module: the traced model, after ``ShapeProp``.
        ties: extended in place. Layers that NNI ties but that differ in size are pinned.
    """
    dependency = nni_dependency()
    for tied in dependency.build_channel_dependency(graph_module):
        names = sorted(str(n.target) for n in tied if str(n.target) in ties.parent)
        if len({ties.sizes[n] for n in names}) > 1:
            ties.pin(names, "NNI ties layers of different widths here")
            continue
        for other in names[1:]:
            ties.tie(names[0], other)
