"""Pooling and reductions."""

from __future__ import annotations

import math

from evaluators.tracing.operators.reading import Reading, Window, axes, numbers
from evaluators.tracing.program import Operation


def pool(reading: Reading, operation: Operation) -> None:
    """Maxima or means of windows."""
    source = reading.data(operation)[0]
    dims = int(operation.kind.split("pool")[1][0])
    kernel = numbers(operation.arguments["kernel_size"], dims)
    stride = numbers(operation.arguments.get("stride"), dims) or kernel
    padding = numbers(operation.arguments.get("padding", 0), dims)
    reading.emit(operation, "pool", data=[source], window=Window(kernel, stride, padding))
    _further(reading, operation)


def adaptive_pool(reading: Reading, operation: Operation) -> None:
    """Windows whose size follows from the output's: of the whole plane, or a part of it."""
    source = reading.data(operation)[0]
    before, after = source.shape[2:], operation.output.shape[2:]
    if math.prod(after) == 1:
        reading.emit(operation, "global_pool", data=[source], window=Window(before or (1,)))
    else:
        ratio = tuple(max(1, a // b) for a, b in zip(before, after, strict=True))
        reading.emit(operation, "pool", data=[source], window=Window(ratio, ratio))
    _further(reading, operation)


def reduction(reading: Reading, operation: Operation) -> None:
    """A mean, sum, maximum and the like over some axes; two inputs meet element by element."""
    data = reading.data(operation)
    if operation.value("other") is not None and operation.kind in ("max", "min"):
        reading.emit(operation, f"{operation.kind}imum", data=data)
        return
    source = data[0]
    rank = len(source.shape)
    over = axes(operation.arguments.get("dim"), rank)
    plane = tuple(range(2, rank))
    if over == plane or (rank == 3 and over == (1,)):
        window = Window(tuple(source.shape[a] for a in over) or (1,))
        reading.emit(operation, "global_pool", data=data, window=window)
    else:
        reading.emit(operation, "reduce", data=data)
    _further(reading, operation)


def _further(reading: Reading, operation: Operation) -> None:
    """Outputs beside the first one, such as where the maxima were, are written as well."""
    made = reading.sources[operation.output]
    for value in operation.outputs[1:]:
        if reading.is_read(value):
            name = reading.names.part(made.name, "indices")
            reading.emit(operation, "copy", name=name, data=(), extra=[made], target=value)
