"""Convolutions and matrix products with weights."""

from __future__ import annotations

import math

from evaluators.tracing.operators.reading import (
    NO_WEIGHTS,
    WEIGHTED_MODULES,
    Reading,
    Weights,
    Window,
    numbers,
)
from evaluators.tracing.program import Operation, Value
from evaluators.tracing.traced_layer import NO_AXIS, Shaped

NORMS = frozenset({
    "batch_norm", "native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit_no_training",
})  # fmt: skip


def convolution(reading: Reading, operation: Operation) -> None:
    """A convolution or transposed convolution of one to three dimensions."""
    weight, source = operation.value("weight"), operation.value("input")
    if weight is None or source is None or weight not in reading.constants:
        # A convolution with weights that the network works out: two activations meet.
        reading.emit(operation, "opaque", fallback=True)
        return
    dims = len(weight.shape) - 2
    kernel, groups = weight.shape[2:], int(str(operation.arguments.get("groups", 1)))
    transposed = operation.kind.startswith("conv_transpose") or bool(
        operation.arguments.get("transposed")
    )
    channels = source.shape[1]
    produced = operation.output.shape[1]
    op = "depthwise" if groups == channels == produced and groups > 1 else "conv"
    op = "conv_transpose" if transposed else op
    padding = _padding(operation, kernel, dims)
    if source in reading.padding:
        extra = reading.padding[source]
        own = padding if len(padding) == len(extra) else tuple(p for p in padding for _ in "ab")
        padding = tuple(a + b for a, b in zip(own, extra, strict=True))
    _emit(
        reading, operation, op, source, weight, operation.value("bias"),
        window=Window(kernel, numbers(operation.arguments["stride"], dims), padding, groups),
    )  # fmt: skip


def linear(reading: Reading, operation: Operation) -> None:
    """``x W^T + b`` along the last axis."""
    weight, source = operation.value("weight"), operation.value("input")
    if source is None or weight is None or weight not in reading.constants:
        _product(reading, operation, _weights_of(operation), transposed=True)
        return
    _emit(reading, operation, "linear", source, weight, operation.value("bias"))


def product(reading: Reading, operation: Operation) -> None:
    """``matmul``, ``mm``, ``bmm``, ``addmm`` and the like: with weights, or of two tensors."""
    _product(reading, operation, _factors(operation), transposed=False)


def _factors(operation: Operation) -> tuple[Value | None, Value | None]:
    pairs = (("mat1", "mat2"), ("batch1", "batch2"), ("self", "other"), ("self", "mat2"),
             ("self", "vec"), ("self", "tensor"), ("mat", "vec"))  # fmt: skip
    for first, second in pairs:
        if operation.value(first) is not None and operation.value(second) is not None:
            return operation.value(first), operation.value(second)
    return None, None


def _weights_of(operation: Operation) -> tuple[Value | None, Value | None]:
    return operation.value("input"), operation.value("weight")


def _product(
    reading: Reading,
    operation: Operation,
    factors: tuple[Value | None, Value | None],
    *,
    transposed: bool,
) -> None:
    left, right = factors
    if left is None or right is None:
        reading.emit(operation, "opaque", fallback=True)
        return
    known = reading.constants
    added = [v for v in operation.inputs if v not in (left, right)]
    if right in known and left not in known and len(right.shape) == 2 and not transposed:
        _emit(
            reading, operation, "linear", left, right, added[0] if added else None,
            others=[v for v in added if v not in known],
        )  # fmt: skip
        return
    shape_in: Shaped | None = None
    shape_out: Shaped | None = None
    data = [v for v in (left, right) if v not in known]
    if left in known:
        # Rows of the product are its columns, so that the inner dimension stands last.
        shape_in = _swapped(reading.shaped(reading.sources[right].value))
        shape_out = _swapped(reading.shaped(operation.output))
    reading.emit(
        operation, "matmul", data=[*data, *(v for v in added if v not in known)],
        constants=[v for v in operation.inputs if v in known], shape_in=shape_in,
        shape_out=shape_out,
    )  # fmt: skip


def _swapped(shaped: Shaped) -> Shaped:
    shape, places = shaped
    if len(shape) < 2:
        return shape, places
    return (*shape[:-2], shape[-1], shape[-2]), (*places[:-2], places[-1], places[-2])


def einsum(reading: Reading, operation: Operation) -> None:
    """Two operands: a product whose inner dimension are the letters that go away."""
    operands = list(operation.inputs)
    equation = str(operation.arguments.get("equation", "")).replace(" ", "")
    data = [v for v in operands if v in reading.sources]
    constants = [v for v in operands if v in reading.constants]
    if len(operands) == 1:
        reading.emit(operation, "copy", data=data)
        return
    if len(operands) != 2 or "." in equation or "->" not in equation:
        reading.emit(operation, "opaque", data=data, constants=constants, fallback=True)
        return
    terms, out = equation.split("->")
    letters = dict(zip(operands, terms.split(","), strict=False))
    value = data[0]
    mine, sizes = letters[value], dict(zip(letters[value], value.shape, strict=True))
    inner = [c for c in mine if c not in out]
    shape, places = reading.shaped(reading.sources[value].value)
    kept = [(n, a) for n, a in zip(shape, places, strict=True) if mine[a] not in inner]
    width = math.prod(sizes[c] for c in inner)
    last = (mine.index(inner[0]) if len(inner) == 1 else NO_AXIS,)
    reading.emit(
        operation, "matmul", data=data, constants=constants,
        shape_in=((*(n for n, _ in kept), width), (*(a for _, a in kept), *last)),
    )  # fmt: skip


def _emit(
    reading: Reading,
    operation: Operation,
    op: str,
    source: Value,
    weight: Value,
    bias: Value | None,
    *,
    window: Window | None = None,
    others: list[Value] | None = None,
) -> None:
    """A layer with weights; they are numbers of their own where no module's quantizer has them."""
    path = owner(reading, operation, weight)
    folded = _folded_norm(reading, operation)
    norm = [v for v in folded.inputs if v in reading.constants] if folded is not None else []
    from_bias = [v for v in (bias,) if v is not None and v in reading.constants]
    name = reading.names.of_module(path) if path else reading.function_name(operation)
    if not path:
        op = f"fixed_{op}"
    weights = NO_WEIGHTS
    if path:
        held = (*from_bias, *norm)
        weights = Weights(_weight_name(reading, path, weight), path, bool(held), held)
    reading.emit(
        operation, op, name=name, data=[source, *(others or [])], window=window or Window((1, 1)),
        weights=weights, constants=() if path else [weight, *from_bias, *norm],
    )  # fmt: skip


def owner(reading: Reading, operation: Operation, weight: Value) -> str:
    """Path of the called module whose ``weight`` this is, if its class is one with bit genes."""
    module = reading.module(operation.module)
    if not operation.module or not isinstance(module, WEIGHTED_MODULES):
        return ""
    leaves = reading.constants.leaves(weight)
    if leaves == (weight,):
        mine = getattr(module, "weight", None)
        return operation.module if mine is reading.parameter(weight) else ""
    names = {str(reading.program.parameter(v)) for v in leaves}
    prefix = f"{operation.module}."
    normed = (f"{prefix}parametrizations.weight.", f"{prefix}weight_g", f"{prefix}weight_v")
    return operation.module if all(n.startswith(normed) for n in names) else ""


def _weight_name(reading: Reading, path: str, weight: Value) -> str:
    direct = reading.constants.leaves(weight) == (weight,)
    return str(reading.program.parameter(weight)) if direct else f"{path}.weight"


def _folded_norm(reading: Reading, operation: Operation) -> Operation | None:
    """The batch norm behind a layer with weights whose output nothing else reads."""
    value = operation.output
    while True:
        users = reading.users(value)
        if len(users) != 1 or reading.is_output(value):
            return None
        user = users[0]
        if user.kind in NORMS:
            return user if user.value("input") is value and _along(value, operation) else None
        if user.kind not in PASSED:
            return None
        value = user.output


PASSED = frozenset({"alias", "clone", "contiguous", "detach", "dropout", "feature_dropout"})


def _along(value: Value, operation: Operation) -> bool:
    """Whether a batch norm's channels, axis 1, are those of the layer before it."""
    return operation.kind.startswith("conv") or len(value.shape) == 2


def batch_norm(reading: Reading, operation: Operation) -> None:
    """Part of the layer before it where that has weights; else a factor and a shift per channel."""
    value = operation.value("input")
    if value is None or value not in reading.sources:
        reading.emit(operation, "opaque", fallback=True)
        return
    producer = value
    before = reading.program.producer(producer)
    while before is not None and before.kind in PASSED:
        producer = before.inputs[0]
        before = reading.program.producer(producer)
    behind = before is not None and _holds_weights(reading, before)
    if before is not None and behind and _folded_norm(reading, before) is operation:
        reading.fold(operation, value)
        return
    reading.emit(operation, "affine", data=[value])


def _holds_weights(reading: Reading, operation: Operation) -> bool:
    return any(
        t.operation is operation
        and t.layer.op.removeprefix("fixed_") in ("conv", "depthwise", "conv_transpose", "linear")
        for t in reading.layers
    )


def _padding(operation: Operation, kernel: tuple[int, ...], dims: int) -> tuple[int, ...]:
    padding = operation.arguments["padding"]
    if padding == "valid":
        return (0,) * dims
    if padding == "same":
        dilation = numbers(operation.arguments["dilation"], dims)
        spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple(v for span in spans for v in (span // 2, span - span // 2))
    return numbers(padding, dims)
