"""The layers of a program: what each of its operations is at run time, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from evaluators.trace_error import TraceError
from evaluators.tracing.operators.reading import Reading
from evaluators.tracing.operators.registry import operator_of
from evaluators.tracing.program import Program
from evaluators.tracing.traced_layer import TracedLayer


def traced_layers(program: Program, model: nn.Module) -> list[TracedLayer]:
    """Returns the layers that run, in order.

    Operations that lead to no output, those on constants alone, and those that other layers take
    in have none: a batch norm behind a convolution, dropout, zero padding that only convolutions
    read.

    Args:
        program: what was read of the model.
        model: the model; its modules name the layers.
    """
    reading = Reading(program, model)
    for operation in program.operations:
        if operation not in reading.live or all(v in reading.constants for v in operation.outputs):
            continue
        operator_of(operation.kind).rule(reading, operation)
    return reading.layers


def fallbacks(layers: Iterable[TracedLayer]) -> dict[str, str]:
    """Returns ATen's names of the operators that no rule is known for, by the layer's name."""
    return {t.layer.name: t.operation.kind for t in layers if t.fallback}


def unpriced(program: Program, layers: Sequence[TracedLayer]) -> dict[str, str]:
    """Returns the parameters and buffers that no layer counts, each with the reason.

    Args:
        program: what was read of the model.
        layers: its layers.

    Returns:
        By qualified name: ``""`` for one that an output depends on, which is a fault, and ``not
        used`` for one that no output depends on. ``num_batches_tracked`` is left out.
    """
    counted: set[int] = set()
    tensors = dict(program.model.named_parameters(remove_duplicate=False))
    tensors.update(program.model.named_buffers(remove_duplicate=False))  # type: ignore[arg-type]  # both are tensors
    by_name = {name: id(t) for name, t in tensors.items()}
    for traced in layers:
        values = (*traced.constants, *traced.bias)
        names = [program.parameter(v) or "" for v in values]
        names.append(traced.weight)
        if traced.weight not in by_name and traced.layer.module:
            prefix = f"{traced.layer.module}."
            names += [n for n in by_name if n.startswith(prefix)]
        counted.update(by_name[n] for n in names if n in by_name)
    read = {by_name.get(program.parameter(v) or "") for v in Reading(program, program.model).used()}
    return {
        name: "" if key in read else "not used"
        for name, key in by_name.items()
        if key not in counted and not name.endswith("num_batches_tracked")
    }


def check_priced(program: Program, layers: Sequence[TracedLayer]) -> None:
    """Checks that flash holds all that an output depends on.

    Raises:
        TraceError: a parameter or buffer that no layer counts; the message names them.
    """
    missing = [name for name, reason in unpriced(program, layers).items() if not reason]
    if missing:
        raise TraceError(
            f"{type(program.model).__name__}: {', '.join(missing[:5])}"
            f"{' and more' if len(missing) > 5 else ''} would be missing in the size of the "
            "network: this is a fault of the tracing, please report the model"
        )
