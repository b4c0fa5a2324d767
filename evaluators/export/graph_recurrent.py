"""Recurrent layers in the graph of the integer kernels, and the views around them.

A sequence is `[N, T, F]` in torch and T rows of F numbers in memory. So it is stored as (1, T, F),
or as (T, F, 1) where it is an image of one channel.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from evaluators.export.graph import Node, Shape, UnsupportedNetworkError, shape_of
from evaluators.export.graph_builder import GraphBuilder
from evaluators.export.module_graph import IDENTITIES, KINDS
from evaluators.tracing.program import Operation, Program, Value, values_in


def input_shape(program: Program, value: Value) -> Shape:
    """How the network's input is stored: a sequence as it lies in torch's memory."""
    if len(value.shape) == 3 and _is_sequence(program, value):
        return (value.shape[1], value.shape[2], 1)
    return shape_of(value, value.name)


def view(builder: GraphBuilder, operation: Operation) -> bool:
    """Handles a reshape or transposition that makes a sequence, or that reads a last state."""
    value = operation.inputs[0]
    producer = _maker(builder.program, value)
    if producer is not None and producer.kind in KINDS and value in _behind(builder, producer, 1):
        if operation.output.shape != (value.shape[1], value.shape[2]):
            raise UnsupportedNetworkError(
                f"{operation.kind} of the last state at {builder.where(operation)!r}"
            )
        builder.sources[operation.output] = builder.source(value, builder.where(operation))
        return True
    rank = len(operation.output.shape)
    if rank != 3 or not _is_sequence(builder.program, operation.output):
        return False
    source = builder.source(value, builder.where(operation))
    h, w, c = builder.nodes[source].shape
    frames, features = operation.output.shape[1:]
    turned = operation.kind in ("transpose", "permute")
    if turned != (c > 1 and h * w > 1) or (turned and (h, w, c) != (1, frames, features)):
        raise UnsupportedNetworkError(
            f"{operation.kind} of a tensor stored as {h}x{w}x{c} into a sequence of {frames} "
            f"frames at {builder.where(operation)!r}"
        )
    name = builder.names[operation]
    builder.put(Node(name, "reshape", (source,), (1, frames, features)), operation.output)
    return True


def turn(builder: GraphBuilder, operation: Operation) -> None:
    """A transposition: only the one in front of a recurrent layer is known."""
    if not view(builder, operation):
        raise UnsupportedNetworkError(
            f"operator {operation.kind} at {builder.where(operation)!r}, "
            "which is not in front of a recurrent layer"
        )


def select(builder: GraphBuilder, operation: Operation) -> None:
    """The state behind the last frame."""
    value = operation.inputs[0]
    maker = _maker(builder.program, value)
    dim, index = (int(str(operation.arguments[n])) for n in ("dim", "index"))
    where = builder.where(operation)
    axis = dim % len(value.shape)
    last = index in (-1, value.shape[axis] - 1)
    states = maker is not None and maker.kind in KINDS
    if maker is None or not states or not last or axis != (value in _behind(builder, maker, 0)):
        raise UnsupportedNetworkError(
            f"operator select with dim={dim}, index={index} at {where!r}: only the state behind "
            "the last frame of a recurrent layer is known"
        )
    builder.sources[operation.output] = builder.source(value, where)


def layer(builder: GraphBuilder, operation: Operation) -> None:
    """A GRU or LSTM of one layer and one direction, from a state of zeros."""
    name, where = operation.module, builder.where(operation)
    module = builder.program.model.get_submodule(name) if name else None
    if not isinstance(module, (nn.GRU, nn.LSTM)):
        raise UnsupportedNetworkError(f"operator {operation.kind} outside of a module at {where!r}")
    if module.proj_size:
        raise UnsupportedNetworkError(f"{operation.kind} with proj_size at {where!r}")
    rounded = builder.layers.rounded
    if rounded is not None and name not in rounded:
        raise UnsupportedNetworkError(f"layer {name!r} reads its input in float: quantize it too")
    if name in builder.called:
        raise UnsupportedNetworkError(f"module {name!r} is called more than once")
    builder.called.add(name)
    for value in initial_states(operation):
        maker = builder.program.producer(value)
        if maker is None or maker.kind != "zeros":
            raise UnsupportedNetworkError(f"{operation.kind} with a first state at {where!r}")
    value, source = builder.data(operation)
    frames, features = value.shape[1:]
    if builder.nodes[source].shape not in ((1, frames, features), (frames, features, 1)):
        raise UnsupportedNetworkError(f"the sequence that {where!r} reads lies in another order")
    shape = (1, frames if _gives_sequence(builder, operation) else 1, module.hidden_size)
    node = Node(builder.names[operation], "recurrent", (source,), shape, name)
    for output in operation.outputs[:2]:
        builder.put(node, output)


def initial_states(operation: Operation) -> list[Value]:
    """The states that a recurrent layer begins with, as it was given them."""
    given = operation.arguments.get("hx")
    return list(values_in([given]))


def _gives_sequence(builder: GraphBuilder, operation: Operation) -> bool:
    program, where = builder.program, builder.where(operation)
    kinds = set()
    for position in range(len(operation.outputs)):
        for value in _behind(builder, operation, position):
            if value in program.outputs or (position == 2 and program.users(value)):
                raise UnsupportedNetworkError(f"the states of {where!r} leave the network")
            kinds |= {(position, r.kind) for r in program.users(value) if r.kind not in IDENTITIES}
    sequence = {(0, kind) for kind in KINDS}
    last = {(0, "select"), (1, "select"), (1, "squeeze"), (1, "view"), (1, "reshape")}
    if unknown := sorted(kind for _, kind in kinds - sequence - last):
        raise UnsupportedNetworkError(f"{', '.join(unknown)} of the states of {where!r}")
    if kinds & sequence and kinds & last:
        raise UnsupportedNetworkError(f"all states of {where!r} and the last one are read")
    return bool(kinds & sequence)


def _behind(builder: GraphBuilder, operation: Operation, position: int) -> list[Value]:
    """An output, and what operations make of it that change nothing."""
    if position >= len(operation.outputs):
        return []
    return list(_copies(builder.program, operation.outputs[position]))


def _copies(program: Program, value: Value) -> Iterator[Value]:
    yield value
    for reader in program.users(value):
        if reader.kind in IDENTITIES:
            yield from _copies(program, reader.output)


def _maker(program: Program, value: Value) -> Operation | None:
    found = program.producer(value)
    while found is not None and found.kind in IDENTITIES:
        found = program.producer(found.inputs[0])
    return found


def _is_sequence(program: Program, value: Value) -> bool:
    """Whether recurrent layers read a value, and nothing else does."""
    copies = set(_copies(program, value))
    readers = {r for v in copies for r in program.users(v) if r.kind not in IDENTITIES}
    return bool(readers) and all(r.kind in KINDS and r.inputs[0] in copies for r in readers)
