"""Which files of an export will be missing, said before the search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from evaluators.export import litert
from evaluators.export.folding import foldable_norms, layer_calls, output_of, program_of
from evaluators.export.graph import UnsupportedNetworkError, output_names
from evaluators.export.graph_builder import Layers
from evaluators.export.graph_operators import graph_of
from evaluators.export.module_graph import KINDS
from evaluators.process_state import eval_mode
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.weight_norms import copied
from evaluators.tracing.operators.registry import NOT_IN_ONNX
from evaluators.tracing.program import Program

FILES = {"onnx": "model.onnx", "c": "c/", "tflite": "model.tflite"}
"""Kinds of files that some networks have no form for."""


KEY = "missing_files"
"""Of a network file's metadata: what `missing_of` found."""


def missing_files(model: nn.Module, inputs: object) -> dict[str, str]:
    """Names the files that no candidate of a model will have.

    What only some candidates lack is not among them: 16 bits have no form in C, widths other than
    8 bits of activations none in LiteRT.

    Args:
        model: as the task has it; left as it is.
        inputs: one batch of example inputs, as the model takes them.

    Returns:
        Kind of file, of :data:`FILES`, and the reason with the layer that it is of.

    Raises:
        TraceError: torch.export can't follow the model.
    """
    plain = make_plain(copied(model))
    found = missing_of(plain, program_of(plain, inputs), inputs)
    if "tflite" not in found and not litert.is_available():
        found["tflite"] = litert.NOT_INSTALLED
    return found


def missing_of(model: nn.Module, program: Program, inputs: object) -> dict[str, str]:
    """The same by the model alone, whatever is installed here.

    Args:
        model: a copy with plain modules.
        program: its operations, as they were read.
        inputs: as for `missing_files`.
    """
    found = {}
    if unknown := _not_in_onnx(program):
        found["onnx"] = unknown
    reason = _no_integers(program, model, inputs)
    if reason is not None:
        found["c"] = found["tflite"] = reason
    elif recurrent := _recurrent(program):
        found["tflite"] = recurrent
    return found


def told(missing: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason, with its files: ``c/, model.tflite: operator ...``."""
    files: dict[str, list[str]] = {}
    for kind, reason in missing.items():
        files.setdefault(reason, []).append(FILES.get(kind, kind))
    for reason, names in files.items():
        yield f"{', '.join(names)}: {reason}"


def _not_in_onnx(program: Program) -> str:
    for operation in program.live():
        if operation.kind in NOT_IN_ONNX:
            return f"operator {operation.kind} at {operation.module or operation.name!r}"
    return ""


def _recurrent(program: Program) -> str:
    """What has a form in C and none in LiteRT."""
    for operation in program.live():
        if operation.kind in KINDS:
            return f"operator {operation.kind} at {operation.module or operation.name!r}"
    return ""


def _no_integers(program: Program, model: nn.Module, inputs: object) -> str | None:
    calls = layer_calls(program)
    norms = frozenset(foldable_norms(program, calls).values())
    with eval_mode(model):
        output = output_of(model, inputs)
    try:
        graph_of(program, Layers(calls, norms, None, {}, output_names(output)))
    except UnsupportedNetworkError as error:
        return str(error)
    return None
