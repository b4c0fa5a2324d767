"""How channels pass through the operations that hold no weights of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from evaluators.tracing.channel_labels import LabelFlow, varying
from evaluators.tracing.program import Operation, Value, values_in


def integers(value: object) -> tuple[int, ...]:
    """An argument that is an integer or a list of them."""
    items = value if isinstance(value, Sequence) else [value]
    return tuple(int(v) for v in items if isinstance(v, int))


def source_of(op: Operation) -> Value | None:
    """The tensor that an operation works on: its first one."""
    return next(iter(op.inputs), None)


def opaque(flow: LabelFlow, op: Operation) -> None:
    """No rule: all that goes in stays whole."""
    flow.pin_inputs(op, f"it feeds '{op.name}' ({op.kind}), through which channels aren't followed")


def nothing(flow: LabelFlow, op: Operation) -> None:
    """The result has nothing of the channels that go in (sizes, constants)."""


def elementwise(flow: LabelFlow, op: Operation) -> None:
    """Any number of operands, broadcast against each other."""
    rank = len(op.output.shape)
    found: list[torch.Tensor] = []
    constants: list[tuple[torch.Tensor, tuple[int, ...]]] = []
    fixed: list[tuple[int, ...]] = []
    for value in op.inputs:
        lead = (1,) * (rank - len(value.shape))
        labels = flow.of(value)
        shape = (*lead, *value.shape)
        if labels is None:
            fixed.append(shape)
        elif value in flow.derived:
            constants.append((labels.reshape(*lead, *labels.shape), shape))
        else:
            found.append(labels.reshape(*lead, *labels.shape))
    if not found:
        if all(value in flow.derived for value in op.inputs):
            _of_constants(flow, op)
        return
    out = min(found, key=lambda labels: labels.numel())
    for labels in found:
        if labels is not out:
            flow.tie(out, labels)
        sized = {d for shape in fixed for d in varying(labels) if shape[d] > 1}
        flow.keep_whole(labels, sized, "it is combined with the network's input or a constant")
    for labels, shape in constants:
        axes = [d for d in varying(out) if shape[d] > 1]
        if axes:
            # What is the same for all channels needs no cut.
            flow.tie(flow.along(labels, axes), out)
    flow.put(op.output, out if len(found) == 1 else merged(found))


def _of_constants(flow: LabelFlow, op: Operation) -> None:
    """Of what is put together from constants, the learned part says which channels it is of."""
    labelled = [v for v in op.inputs if flow.of(v) is not None]
    chosen = [v for v in labelled if v in flow.learned]
    if not chosen and sum(v.shape == op.output.shape for v in op.inputs) == 1:
        chosen = [v for v in labelled if v.shape == op.output.shape]
    if chosen:
        lead = max(chosen, key=lambda v: len(v.shape))
        labels = flow.of(lead)
        if labels is not None:
            missing = len(op.output.shape) - len(lead.shape)
            flow.put(op.output, labels.reshape((1,) * missing + tuple(labels.shape)))


def merged(found: Sequence[torch.Tensor]) -> torch.Tensor:
    """Labels of several operands in one tensor; where two meet they are tied already."""
    shapes = [labels.shape for labels in found]
    shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]  # torch has no types here
    first = found[0].expand(shape)
    for labels in found[1:]:
        first = torch.where(first > 0, first, labels.expand(shape))
    return first


def movement(flow: LabelFlow, op: Operation) -> None:
    """Entries change places: the operation itself moves the labels."""
    if all(flow.of(v) is None for v in op.inputs):
        return
    # An index that depends on the input may pick any entry: all must have the same labels.
    unknown = any(not v.dtype.is_floating_point and flow.constant(v) is None for v in op.inputs)
    try:
        results = _moved(flow, op, 0)
        others = _moved(flow, op, -1) if unknown else results
    # Not every operation runs on labels, and what doesn't isn't followed.
    except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError):
        opaque(flow, op)
        return
    if any(
        tuple(labels.shape) != value.shape or not torch.equal(labels, other)
        for value, labels, other in zip(op.outputs, results, others, strict=True)
    ):
        opaque(flow, op)
        return
    for value, labels in zip(op.outputs, results, strict=True):
        flow.put(value, labels.to(torch.int64))


def _moved(flow: LabelFlow, op: Operation, pick: int) -> list[torch.Tensor]:
    """The labels of an operation's results, with one entry picked by every unknown index."""
    arguments = {name: _filled(flow, a, pick) for name, a in op.arguments.items()}
    moved = _run(op, arguments)
    return list(moved) if isinstance(moved, (tuple, list)) else [moved]


def _filled(flow: LabelFlow, argument: object, pick: int) -> object:
    if isinstance(argument, Value):
        if argument.dtype.is_floating_point:
            return flow.full(argument)
        known = flow.constant(argument)
        return torch.full(argument.shape, pick) if known is None else known
    if isinstance(argument, list):
        return [_filled(flow, a, pick) for a in argument]
    return argument


_RESHAPES = frozenset({"view", "_unsafe_view", "reshape", "view_as", "reshape_as"})
_ONLY_FLOATS = frozenset({"im2col", "col2im", "pixel_shuffle", "pixel_unshuffle"})


def _run(op: Operation, arguments: Mapping[str, object]) -> torch.Tensor | list[torch.Tensor]:
    if op.kind in _RESHAPES:
        first = next(a for a in arguments.values() if isinstance(a, torch.Tensor))
        return first.reshape(op.output.shape)
    if op.kind in _ONLY_FLOATS:
        arguments = {
            k: a.to(torch.float64) if isinstance(a, torch.Tensor) else a
            for k, a in arguments.items()
        }
    result: torch.Tensor | list[torch.Tensor] = op.target(**arguments)
    return result


def concatenation(flow: LabelFlow, op: Operation) -> None:
    """Cat and stack; dimensions in which no part varies aren't written out."""
    tensors = list(values_in(op.arguments.get("tensors")))
    if all(flow.of(v) is None for v in tensors):
        return
    rank = len(op.output.shape)
    axis = int(str(op.arguments.get("dim", 0))) % rank
    stacked = op.kind == "stack"
    pieces = [flow.full(v).unsqueeze(axis) if stacked else flow.full(v) for v in tensors]
    labels = [p if flow.of(v) is None else _narrow(p) for p, v in zip(pieces, tensors, strict=True)]
    channels = [
        p
        for p, v in zip(labels, tensors, strict=True)
        if v not in flow.derived and flow.of(v) is not None
    ]
    if channels and all(p.shape[axis] == 1 for p in channels) and op.output.shape[axis] > 1:
        # Along tokens, or an axis of its own: each part has the same channels.
        lead = channels[0]
        for piece, value in zip(pieces, tensors, strict=True):
            if value in flow.derived:
                piece = flow.along(piece, varying(lead))
            flow.tie(lead, piece.narrow(axis, 0, 1))
        flow.put(op.output, lead)
        return
    for dim in range(rank):
        if dim != axis and all(p.stride(dim) == 0 or p.shape[dim] == 1 for p in pieces):
            pieces = [p.narrow(dim, 0, 1) for p in pieces]
    joined = torch.cat(pieces, dim=axis)
    if joined.shape[axis] == op.output.shape[axis]:
        flow.put(op.output, joined)
    else:
        opaque(flow, op)


def _narrow(labels: torch.Tensor) -> torch.Tensor:
    """Size 1 in each dimension that was expanded."""
    for dim in range(labels.dim()):
        if labels.stride(dim) == 0:
            labels = labels.narrow(dim, 0, 1)
    return labels


def parts(flow: LabelFlow, op: Operation) -> None:
    """chunk, split, unbind, select: parts of one size along a channel axis keep it alike."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    axis = int(str(op.arguments.get("dim", 0))) % len(source.shape)
    if axis in varying(labels):
        size = source.shape[axis]
        if op.kind in ("unbind", "select"):
            flow.along(labels, [d for d in range(labels.dim()) if d != axis])
        else:
            lengths = {v.shape[axis] for v in op.outputs}
            if len(lengths) > 1:
                reason = f"'{op.name}' splits it into parts of different sizes"
                flow.keep_whole(labels, [axis], reason)
            elif len(op.outputs) > 1:
                _tie_parts(flow, labels, axis, size // lengths.pop())
    movement(flow, op)


def _tie_parts(flow: LabelFlow, labels: torch.Tensor, axis: int, count: int) -> None:
    pieces = labels.chunk(count, axis)
    for piece in pieces[1:]:
        flow.tie(pieces[0], piece)


def cut_out(flow: LabelFlow, op: Operation) -> None:
    """Slice and narrow: an n-th part of the channels, or entries of another axis."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    axis = int(str(op.arguments.get("dim", 0))) % len(source.shape)
    size, kept = source.shape[axis], op.output.shape[axis]
    if axis in varying(labels) and kept != size:
        start = op.arguments.get("start", 0)
        begin = (start if isinstance(start, int) else 0) % size
        if op.arguments.get("step", 1) != 1 or size % kept or begin % kept:
            reason = f"'{op.name}' takes channels {begin} to {begin + kept} of {size}"
            flow.keep_whole(labels, [axis], reason)
        else:
            _tie_parts(flow, labels, axis, size // kept)
    movement(flow, op)


def reduction(flow: LabelFlow, op: Operation) -> None:
    """mean, amax, var, ...: over other axes than the channels'; sum over these as well."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if len(list(values_in(op.arguments.get("other")))) > 0:
        elementwise(flow, op)
        return
    if source is None or labels is None:
        return
    rank = len(source.shape)
    given = integers(op.arguments.get("dim"))
    dims = {d % rank for d in given} if given else set(range(rank))
    apart = [d for d in varying(labels) if d not in dims]
    if op.kind == "sum":
        # A sum lacks what is gone, so channels that it runs over stay apart; what is left of an
        # axis beside it (heads, of whose channels it is) goes as a whole.
        labels = flow.along(labels, set(range(rank)) - dims) if apart else labels
    elif not _is_norm(flow, op, source):
        flow.keep_whole(labels, dims, f"'{op.name}' ({op.kind}) is taken over its channels")
    if not apart:
        return
    for dim in dims:
        labels = labels.narrow(dim, 0, 1)
    for value in op.outputs:
        if len(value.shape) == rank:
            flow.put(value, labels)
        else:
            kept = [n for d, n in enumerate(labels.shape) if d not in dims]
            flow.put(value, labels.reshape(kept))


def _is_norm(flow: LabelFlow, op: Operation, source: Value) -> bool:
    """Whether a mean over channels is part of a norm that is written out: of those that are left.

    Such a module has no modules inside, and a number for each entry of the one axis that the mean
    is over, and no other numbers. (`masked_model` takes the mean of it likewise.)
    """
    dims = integers(op.arguments.get("dim"))
    module = flow.program.model.get_submodule(op.module)
    numbers = list(module.parameters())
    return (
        op.kind in ("mean", "var", "std", "var_mean", "std_mean", "linalg_vector_norm")
        and len(dims) == 1
        and bool(numbers)
        and next(module.children(), None) is None
        and all(tuple(p.shape) == (source.shape[dims[0]],) for p in numbers)
    )


def over_axis(flow: LabelFlow, op: Operation) -> None:
    """softmax, cumsum, sort, topk: along another axis than the channels'."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    dims = integers(op.arguments.get("dim", -1)) or (-1,)
    flow.keep_whole(labels, dims, f"'{op.name}' ({op.kind}) is taken over its channels")
    for value in op.outputs:
        same = [d for d in range(labels.dim()) if value.shape[d] == source.shape[d]]
        flow.put(value, labels if len(same) == labels.dim() else flow.along(labels, same))


def spatial(flow: LabelFlow, op: Operation) -> None:
    """Pools, pads, resizing: another size in other axes than the channels'."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    for value in op.outputs:
        if len(value.shape) != len(source.shape) or any(
            value.shape[d] != source.shape[d] for d in varying(labels)
        ):
            movement(flow, op) if op.kind == "pad" else opaque(flow, op)
            return
        flow.put(value, labels)


def halves(flow: LabelFlow, op: Operation) -> None:
    """glu: one half gates the other."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    axis = int(str(op.arguments.get("dim", -1))) % len(source.shape)
    if axis in varying(labels):
        _tie_parts(flow, labels, axis, 2)
        labels = labels.narrow(axis, 0, labels.shape[axis] // 2)
    flow.put(op.output, labels)
