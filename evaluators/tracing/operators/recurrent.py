"""Recurrent layers and embeddings."""

from __future__ import annotations

from evaluators.tracing.operators.reading import (
    NO_WEIGHTS,
    WEIGHTED_MODULES,
    Reading,
    Weights,
    Window,
)
from evaluators.tracing.operators.weighted import owner
from evaluators.tracing.program import Operation, Value
from evaluators.tracing.traced_layer import Shaped, picked

INDEX_BITS = 32
"""Of a position in a table, as runtimes for microcontrollers hold it."""


def recurrent(reading: Reading, operation: Operation) -> None:
    """An LSTM, a GRU or a plain recurrent layer: all of its gates, directions and stacked layers.

    ``kernel`` holds the stacked layers, the directions and, where the state is projected, its
    width before that.
    """
    source = operation.value("input")
    found = operation.arguments.get("params")
    weights = [v for v in found if isinstance(v, Value)] if isinstance(found, list) else []
    if source is None or not weights or source not in reading.sources:
        reading.emit(operation, "opaque", constants=operation.inputs, fallback=True)
        return
    output = operation.output
    rank = len(source.shape)
    batch_axis = 0 if operation.arguments.get("batch_first") else 1
    kept = tuple(a for a in range(rank) if rank < 3 or a != batch_axis)
    layers = int(str(operation.arguments["num_layers"]))
    directions = 2 if operation.arguments.get("bidirectional") else 1
    kernel: tuple[int, ...] = (layers, directions)
    projected, state = weights[1].shape[1], weights[0].shape[0] // 4
    if operation.kind == "lstm" and projected != state:
        kernel = (*kernel, state)
    path = _module_of(reading, operation, weights)
    op = "rnn" if operation.kind.startswith("rnn") else operation.kind
    name = reading.names.of_module(path) if path else reading.function_name(operation)
    biases = [v for v in weights if len(v.shape) == 1]
    initial = [v for v in reading.data(operation) if v is not source]
    first = str(reading.program.parameter(weights[0]))
    held = Weights(first, path, bool(biases), tuple(weights[1:]))
    made = reading.emit(
        operation, op if path else f"fixed_{op}", name=name, data=[source, *initial],
        shape_in=_sequence(reading.sources[source].value, kept, reading),
        shape_out=_sequence(output, kept, reading), window=Window(kernel),
        weights=held if path else NO_WEIGHTS, constants=[] if path else weights,
    )  # fmt: skip
    for last in operation.outputs[1:]:
        if reading.is_read(last):
            reading.emit(
                operation, "slice", name=reading.names.part(name, "state"), data=(), extra=[made],
                target=last, constants=(),
            )  # fmt: skip


def _sequence(value: Value, kept: tuple[int, ...], reading: Reading) -> Shaped:
    shape, places = picked(value.shape, kept, reading.program.batch)
    return tuple(value.shape[a] for a in places) or shape, places


def _module_of(reading: Reading, operation: Operation, weights: list[Value]) -> str:
    module = reading.module(operation.module)
    if not operation.module or not isinstance(module, WEIGHTED_MODULES):
        return ""
    own = {id(p) for p in module.parameters()}
    return operation.module if all(id(reading.parameter(w)) in own for w in weights) else ""


def embedding(reading: Reading, operation: Operation) -> None:
    """Rows of a table: ``kernel`` holds how many there are."""
    weight, indices = operation.value("weight"), operation.value("indices")
    if weight is None or indices is None or weight not in reading.constants:
        reading.emit(operation, "copy", constants=operation.inputs)
        return
    path = owner(reading, operation, weight)
    name = reading.names.of_module(path) if path else reading.function_name(operation)
    reading.emit(
        operation, "embedding" if path else "copy", name=name, data=[indices],
        window=Window((weight.shape[0],)) if path else None, a_bits=INDEX_BITS,
        weights=Weights(str(reading.program.parameter(weight)), path) if path else NO_WEIGHTS,
        constants=() if path else [weight],
    )  # fmt: skip
