"""A layer of the hardware model with the operation and the tensors that it stands for."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.tracing.program import Operation, Value
from hardware import Layer

NO_AXIS = -1
"""Stands for a dimension that is no axis of the value: it never loses channels."""


@dataclass(frozen=True, eq=False)
class TracedLayer:
    """One layer of a program.

    Attributes:
        layer: what it costs; without cuts.
        operation: the operation that computes it; attention has several layers for one.
        source: the value that ``layer.in_shape`` describes.
        target: the value that ``layer.out_shape`` describes.
        in_axes: for each dimension of ``layer.in_shape`` the axis of ``source``, or `NO_AXIS`.
        out_axes: likewise of ``layer.out_shape`` and ``target``.
        constants: parameters, buffers and other constants that ``layer.params`` counts.
        weight: qualified name of the parameter that ``layer.weights`` counts, "" if none.
        bias: parameters and buffers that end in ``layer.bias``: a bias, a folded batch norm.
        fallback: whether no rule is known for the operation, so that it is priced by elements.
    """

    layer: Layer
    operation: Operation
    source: Value
    target: Value
    in_axes: tuple[int, ...]
    out_axes: tuple[int, ...]
    constants: tuple[Value, ...] = ()
    weight: str = ""
    bias: tuple[Value, ...] = ()
    fallback: bool = False


Shaped = tuple[tuple[int, ...], tuple[int, ...]]
"""A shape without batch, and the axis of the value for each of its dimensions."""


def unbatched(shape: tuple[int, ...], batch: int) -> Shaped:
    """The part of a shape that belongs to one example.

    The first axis holds the examples, or a multiple of them where another axis was merged with it;
    else another axis of that size is theirs, and a value without one has no batch.

    Args:
        shape: of a value, batch included.
        batch: examples in the program's inputs.
    """
    axes = list(range(len(shape)))
    sizes = list(shape)
    if sizes and sizes[0] == batch:
        del sizes[0], axes[0]
    elif sizes and sizes[0] and sizes[0] % batch == 0:
        sizes[0] //= batch
    elif batch in sizes:
        place = sizes.index(batch)
        del sizes[place], axes[place]
    if not sizes:
        return (1,), (NO_AXIS,)
    return tuple(max(1, n) for n in sizes), tuple(axes)


def picked(shape: tuple[int, ...], axes: tuple[int, ...], batch: int) -> Shaped:
    """The sizes of some axes; the batch is taken out of the first one where it was merged with it.

    Args:
        shape: of a value, batch included.
        axes: axes to keep, in the order that they get; the examples' own axis is not among them.
        batch: examples in the program's inputs.
    """
    sizes = [shape[a] for a in axes]
    if 0 in axes and shape[0] % batch == 0:
        sizes[axes.index(0)] //= batch
    if not sizes:
        return (1,), (NO_AXIS,)
    return tuple(max(1, n) for n in sizes), axes
