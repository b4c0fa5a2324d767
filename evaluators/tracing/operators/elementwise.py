"""Operators that work element by element, and norms."""

from __future__ import annotations

from evaluators.tracing.operators.reading import Reading
from evaluators.tracing.program import Operation

_MEETINGS = {
    "add": "add", "sub": "sub", "rsub": "sub", "mul": "mul", "div": "div", "maximum": "maximum",
    "minimum": "minimum", "multiply": "mul", "true_divide": "div", "subtract": "sub",
}  # fmt: skip


def meeting(reading: Reading, operation: Operation) -> None:
    """Two tensors meet; with a number instead of the second one it is a function of the first.

    With a learned tensor, flash holds that one, and it is read as a second input would be.
    """
    data = reading.data(operation)
    learned = [v for v in operation.inputs if v in reading.constants and v.shape]
    op = _MEETINGS.get(operation.kind, "elementwise")
    if len(data) == 1 and not learned:
        op = "activation"
    reading.emit(operation, op, data=data)


def activation(reading: Reading, operation: Operation) -> None:
    """A function of each element; slopes and other parameters of it are stored."""
    data = reading.data(operation)
    if len(data) > 1:
        reading.emit(operation, "elementwise", data=data)
        return
    reading.emit(operation, "activation", data=data)


def softmax(reading: Reading, operation: Operation) -> None:
    """Softmax and its logarithm."""
    reading.emit(operation, "softmax")


def norm(reading: Reading, operation: Operation) -> None:
    """Layer, group, instance and root-mean-square norm, with their affine part."""
    reading.emit(operation, "layernorm")
    made = reading.sources[operation.output]
    for value in operation.outputs[1:]:
        reading.sources[value] = made


def scan(reading: Reading, operation: Operation) -> None:
    """Running sums, sorting, gates: more than a copy and less than a product."""
    _priced_by_elements(reading, operation, "scan", known=True)


def unfollowed(reading: Reading, operation: Operation) -> None:
    """Known, but with no cost of its own: priced as an unknown one is."""
    _priced_by_elements(reading, operation, "opaque", known=True)


def fallback(reading: Reading, operation: Operation) -> None:
    """An operator that is not known: each element that is read or written is priced."""
    _priced_by_elements(reading, operation, "opaque", known=False)


def _priced_by_elements(reading: Reading, operation: Operation, op: str, *, known: bool) -> None:
    made = None
    for value in operation.outputs:
        if reading.is_read(value):
            name = "" if made is None else reading.names.part(made.name, "output")
            made = reading.emit(operation, op, name=name, target=value, fallback=not known)
