"""How ATen's operators become nodes of the integer graph.

Each handler says which arguments it reads, and at which value the others stand. Any other value is
refused by name: an argument is never left out silently.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from evaluators.export import graph_recurrent
from evaluators.export.folding import FoldedModel
from evaluators.export.graph import (
    Node,
    UnsupportedNetworkError,
    Window,
    output_names,
    pair,
    shape_of,
    sizes,
)
from evaluators.export.graph_builder import GraphBuilder, Handler, Layers
from evaluators.tracing.program import Operation, Program, Value, values_in

HANDLERS: dict[str, Handler] = {}
"""By ATen's names; `evaluators.tracing.operators.registry` lists them as known in integers."""


def build_graph(folded: FoldedModel) -> list[Node]:
    """Returns the operators of a folded network in execution order.

    Raises:
        UnsupportedNetworkError: an operator or a use of one that the kernels do not know.
    """
    names = output_names(folded.output)
    layers = Layers(folded.calls, folded.norms, folded.inputs, folded.roundings, names)
    return graph_of(folded.program, layers)


def graph_of(program: Program, layers: Layers) -> list[Node]:
    """Returns the operators of a program in execution order.

    Raises:
        UnsupportedNetworkError: as `build_graph`.
    """
    return GraphBuilder(program, layers, HANDLERS, graph_recurrent.input_shape).build()


def _handles(kinds: str, reads: str, **fixed: object) -> Callable[[Handler], Handler]:
    """Registers a handler.

    Args:
        kinds: ATen's names.
        reads: arguments that the handler looks at.
        fixed: the value that each further argument must have.
    """
    known = set(reads.split())

    def register(handler: Handler) -> Handler:
        def checked(builder: GraphBuilder, operation: Operation) -> None:
            for name, value in operation.arguments.items():
                if name not in known and (name not in fixed or fixed[name] != value):
                    raise builder.refusal(operation, name)
            handler(builder, operation)

        HANDLERS.update(dict.fromkeys(kinds.split(), checked))
        return handler

    return register


@_handles("relu relu6 hardtanh clamp clamp_min clamp_max", "self min max min_val max_val")
def _clamp(builder: GraphBuilder, operation: Operation) -> None:
    bounds = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(operation.kind)
    if bounds is None:
        found = []
        for names, missing in ((("min", "min_val"), -math.inf), (("max", "max_val"), math.inf)):
            name = next((n for n in names if operation.arguments.get(n) is not None), None)
            value = missing if name is None else operation.arguments[name]
            if name is not None and not isinstance(value, (int, float)):
                raise builder.refusal(operation, name)
            found.append(float(str(value)))
        bounds = (found[0], found[1])
    source = builder.data(operation)[1]
    builder.add(operation, "clamp", source, bounds=bounds, order=builder.orders.get(source))


@_handles("add", "self other", alpha=1)
def _add(builder: GraphBuilder, operation: Operation) -> None:
    """Sum of two tensors of one shape."""
    where = builder.where(operation)
    pair_of = [operation.value("self"), operation.value("other")]
    sources = [builder.source(value, where) for value in pair_of]
    for source in sources:
        builder.no_order(source, where)
    if len({v.shape for v in (*pair_of, operation.output) if v is not None}) != 1:
        raise UnsupportedNetworkError(f"broadcast addition at {where!r}")
    builder.add(operation, "add", *sources)


@_handles("cat concat concatenate", "tensors dim")
def _concat(builder: GraphBuilder, operation: Operation) -> None:
    """Concatenation along the channels."""
    rank = len(operation.output.shape)
    if operation.arguments["dim"] not in (1, 1 - rank):
        raise builder.refusal(operation, "dim")
    where = builder.where(operation)
    sources = [builder.source(v, where) for v in values_in(operation.arguments["tensors"])]
    for source in sources:
        builder.no_order(source, where)
    builder.add(operation, "concat", *sources)


@_handles(
    "max_pool1d max_pool2d max_pool1d_with_indices max_pool2d_with_indices",
    "self kernel_size stride padding dilation ceil_mode",
)
def _max_pool(builder: GraphBuilder, operation: Operation) -> None:
    for index in operation.outputs[1:]:
        if builder.program.users(index) or index in builder.program.outputs:
            raise UnsupportedNetworkError(
                f"indices of the max pool at {builder.where(operation)!r}"
            )
    source = builder.data(operation)[1]
    builder.add(operation, "max_pool", source, window=_window(operation))


@_handles(
    "avg_pool1d avg_pool2d",
    "self kernel_size stride padding ceil_mode count_include_pad",
    divisor_override=None,
)
def _average_pool(builder: GraphBuilder, operation: Operation) -> None:
    window, (value, source) = _window(operation), builder.data(operation)
    if window.padding != (0, 0):
        raise UnsupportedNetworkError(
            f"padded average pooling at {builder.where(operation)!r} "
            f"(padding={operation.arguments['padding']!r})"
        )
    spatial = zip(
        pair(value.shape[2:], 1), pair(operation.output.shape[2:], 1), window.kernel,
        window.stride, strict=True,
    )  # fmt: skip
    if any((after - 1) * stride + kernel > before for before, after, kernel, stride in spatial):
        # The last window reaches over the edge, and divides by what it has inside.
        raise builder.refusal(operation, "ceil_mode")
    builder.add(operation, "avg_pool", source, window=window)


def _window(operation: Operation) -> Window:
    dims = len(operation.output.shape) - 2
    named = operation.arguments
    kernel = sizes(named["kernel_size"], dims)
    stride = sizes(named["stride"], dims) if named["stride"] else kernel
    padding, dilation = (sizes(named.get(n, d), dims) for n, d in (("padding", 0), ("dilation", 1)))
    return Window(pair(kernel, 1), pair(stride, 1), pair(padding, 0), pair(dilation, 1))


@_handles(
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d",
    "self output_size",
)
def _adaptive_pool(builder: GraphBuilder, operation: Operation) -> None:
    """Mean or maximum over equal tiles, mostly over the whole image."""
    for index in operation.outputs[1:]:
        if builder.program.users(index) or index in builder.program.outputs:
            raise UnsupportedNetworkError(f"indices of the pool at {builder.where(operation)!r}")
    value = builder.data(operation)[0]
    _tiles(builder, operation, value, pair(operation.output.shape[2:], 1))


@_handles("mean amax", "self dim keepdim", dtype=None)
def _reduction(builder: GraphBuilder, operation: Operation) -> None:
    """Mean or maximum over the whole image."""
    value = builder.data(operation)[0]
    rank = len(value.shape)
    given = operation.arguments.get("dim")
    dims = {int(d) % rank for d in given} if isinstance(given, (list, tuple)) else set()
    if rank < 3 or dims != set(range(2, rank)):
        raise builder.refusal(operation, "dim")
    _tiles(builder, operation, value, (1, 1))


def _tiles(
    builder: GraphBuilder, operation: Operation, value: Value, outputs: tuple[int, int]
) -> None:
    source = builder.data(operation)[1]
    builder.no_order(source, builder.where(operation))
    (h, w), (oh, ow) = pair(value.shape[2:], 1), outputs
    if h % oh or w % ow:
        raise UnsupportedNetworkError(
            f"adaptive pooling of {h}x{w} to {oh}x{ow} at {builder.where(operation)!r}: "
            "the tiles have different sizes"
        )
    tile = (h // oh, w // ow)
    op = "max_pool" if "max" in operation.kind else "avg_pool"
    builder.add(operation, op, source, window=Window(tile, tile))


@_handles(
    "flatten view reshape squeeze unsqueeze unflatten",
    "self size shape dim start_dim end_dim sizes",
)
def _reshape(builder: GraphBuilder, operation: Operation) -> None:
    """Only the shape changes."""
    if graph_recurrent.view(builder, operation):
        return
    where = builder.where(operation)
    source = builder.data(operation)[1]
    h, w, c = builder.nodes[source].shape
    shape, order = shape_of(operation.output, where), None
    if shape == (h, w, c):
        order = builder.orders.get(source)
    elif c > 1 and h * w > 1:
        if shape[:2] != (1, 1):
            raise UnsupportedNetworkError(f"reshape of an image at {where!r}")
        order = np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).reshape(-1)
    elif shape[2] > 1 and shape[0] * shape[1] > 1:
        raise UnsupportedNetworkError(f"reshape into an image at {where!r}")
    builder.add(operation, "reshape", source, order=order)


@_handles("pad constant_pad_nd", "self pad mode value")
def _pad(builder: GraphBuilder, operation: Operation) -> None:
    """Zero padding becomes part of the convolutions that read it."""
    value, source = builder.data(operation)
    amounts = [int(n) for n in operation.arguments["pad"]]  # type: ignore[attr-defined]  # by ATen's schema
    if operation.arguments.get("mode", "constant") != "constant":
        raise builder.refusal(operation, "mode")
    if operation.arguments["value"]:
        raise builder.refusal(operation, "value")
    spatial = 2 * (len(value.shape) - 2)
    if min(amounts) < 0 or any(amounts[spatial:]):
        raise builder.refusal(operation, "pad")
    readers = builder.program.users(operation.output)
    if operation.output in builder.program.outputs or not all(
        builder.reads_as_layer(reader) for reader in readers
    ):
        raise UnsupportedNetworkError(
            f"padding before anything but layers at {builder.where(operation)!r}"
        )
    before = builder.pads.get(value, (0, 0))
    own = (amounts[2] if spatial > 2 and len(amounts) > 2 else 0, amounts[0])
    builder.sources[operation.output] = source
    builder.pads[operation.output] = (before[0] + own[0], before[1] + own[1])


@_handles("softmax log_softmax", "self dim", dtype=None)
def _softmax(builder: GraphBuilder, operation: Operation) -> None:
    """Left out where only the output reads it: the largest stays the largest."""
    rank = len(operation.output.shape)
    if builder.layers.outputs != ("",):
        # What reads them is the task's metric, which may want more than the largest.
        raise UnsupportedNetworkError(
            f"softmax of a nested output at {builder.where(operation)!r}: "
            "return the scores before it"
        )
    if builder.program.users(operation.output):
        raise UnsupportedNetworkError(f"softmax inside the network at {builder.where(operation)!r}")
    if operation.arguments["dim"] not in (1, 1 - rank):
        raise builder.refusal(operation, "dim")
    builder.sources[operation.output] = builder.data(operation)[1]


_handles("transpose permute", "self dim0 dim1 dims")(graph_recurrent.turn)
_handles("select", "self dim index")(graph_recurrent.select)
_handles(
    "gru lstm", "input hx params has_biases dropout train",
    num_layers=1, bidirectional=False, batch_first=True,
)(graph_recurrent.layer)  # fmt: skip
