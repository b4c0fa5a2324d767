"""Operators that move numbers, or only look at them in another shape."""

from __future__ import annotations

import math

from evaluators.tracing.operators.reading import Reading, numbers
from evaluators.tracing.program import Operation, Value


def identity(reading: Reading, operation: Operation) -> None:
    """The same numbers: nothing runs."""
    reading.fold(operation, reading.data(operation)[0])


def view(reading: Reading, operation: Operation) -> None:
    """The same bytes under another shape."""
    source = reading.data(operation)[0]
    if operation.kind == "unsqueeze" and (_goes_on(reading, operation, operation.output)):
        _note_indexing(reading, source, operation.output)
    else:
        held = math.prod(reading.sources[source].value.shape) == math.prod(source.shape)
        name = reading.function_name(operation, "getitem") if source in reading.indexed else ""
        reading.emit(operation, "reshape" if held else "slice", data=[source], name=name)


def copy(reading: Reading, operation: Operation) -> None:
    """Numbers are written to other places."""
    made = None
    for value in operation.outputs:
        if reading.is_read(value):
            name = "" if made is None else reading.names.part(made.name, "output")
            made = reading.emit(operation, "copy", name=name, target=value)


def permute(reading: Reading, operation: Operation) -> None:
    """Axes change places; where only axes of one entry do, the bytes stay."""
    source, output = reading.data(operation)[0], operation.output
    if source.shape == output.shape and all(n == 1 for n in output.shape[1:]):
        reading.fold(operation, source)
        return
    reading.emit(operation, "transpose", data=[source])


def part(reading: Reading, operation: Operation) -> None:
    """A slice, a single entry, or the pieces of a split: each one that is read is copied."""
    source = reading.data(operation)[0]
    for value in operation.outputs:
        if value.shape == source.shape or _goes_on(reading, operation, value):
            _note_indexing(reading, source, value)
        elif reading.is_read(value):
            reading.emit(operation, "slice", data=[source], target=value)


_INDEXING = frozenset({"slice", "select", "unsqueeze"})


def _goes_on(reading: Reading, operation: Operation, value: Value) -> bool:
    """Whether one indexing expression goes on: only its last result is written."""
    if operation.kind not in _INDEXING or reading.is_output(value) or not operation.where:
        return False
    users = reading.users(value)
    return len(users) == 1 and users[0].kind in _INDEXING and users[0].where == operation.where


def _note_indexing(reading: Reading, source: Value, value: Value) -> None:
    reading.sources[value] = reading.sources[source]
    reading.indexed.add(value)


def concat(reading: Reading, operation: Operation) -> None:
    """Several tensors behind one another; fixed parts of it are stored."""
    reading.emit(operation, "concat")


def resize(reading: Reading, operation: Operation) -> None:
    """A picture of another size."""
    reading.emit(operation, "resize", data=reading.data(operation)[:1])


def pad(reading: Reading, operation: Operation) -> None:
    """Padding; zeros that only convolutions read become their own."""
    source = reading.data(operation)[0]
    if _fold_pad(reading, operation, source):
        return
    reading.emit(operation, "pad", data=[source])


def _fold_pad(reading: Reading, operation: Operation, source: Value) -> bool:
    output = operation.output
    users = reading.users(output)
    spatial = len(source.shape) - 2
    amounts = numbers(operation.arguments.get("pad"))
    mode = operation.arguments.get("mode", "constant")
    zero = not operation.arguments.get("value")
    if mode != "constant" or not zero or reading.is_output(output) or not users:
        return False
    if any(u.kind not in ("conv1d", "conv2d", "conv3d") for u in users):
        return False
    if any(u.value("input") is not output for u in users):
        return False
    if len(amounts) != 2 * spatial or min(amounts) < 0 or source in reading.padding:
        return False
    # torch lists the last dimension first, a Layer the first one.
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    reading.sources[output] = reading.sources[source]
    reading.padding[output] = tuple(v for pair in pairs for v in pair)
    return True
