"""torch's ONNX exporter, at the lowest opset that a network's operators have a form in."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout

import onnx
import torch
from onnx import helper
from torch import nn

from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.onnx_operators import OwnForms
from evaluators.export.signature import Signature
from evaluators.pytree import call, tensors, with_tensors

LOWEST_OPSET = 13
"""First opset with a scale per channel in DequantizeLinear; what most tools read is above it."""

HIGHEST_OPSET = 18
"""Newest one that torch's exporter by tracing was made for."""


def export(
    model: nn.Module,
    inputs: object,
    *,
    batches: Iterable[object] = (),
    lowest: int = LOWEST_OPSET,
) -> onnx.ModelProto:
    """Traces a network; every weight keeps the name that it has in the module.

    Its inputs are called ``input``, ``input_1`` and so on, or by the keywords of a dict, its
    outputs ``output``, ``output_1`` or by the keys of what the network gives.

    Args:
        model: in eval mode; its ``forward`` is replaced.
        inputs: one batch `[N, ...]` of inputs, as the network takes them; the batch dimension of
            the file is free.
        batches: more of them; an axis whose length differs among them is free, too.
        lowest: opset to begin with.

    Raises:
        UnsupportedNetworkError: torch's exporter has no form for an operator.
    """
    signature = Signature.of(model, inputs, batches)
    flat, given = _flat(model, inputs), tuple(tensors(inputs))
    try:
        return _exported(flat, given, signature, lowest)
    except UnsupportedNetworkError:
        if lowest >= HIGHEST_OPSET:
            raise
    # What the highest has no form for, none has.
    highest = _exported(flat, given, signature, HIGHEST_OPSET)
    for opset in range(lowest + 1, HIGHEST_OPSET):
        try:
            return _exported(flat, given, signature, opset)
        except UnsupportedNetworkError:
            continue
    return highest


def model_proto(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    """A checked file of a graph, of the lowest IR version that the opset has."""
    opsets = [helper.make_opsetid("", opset)]
    result = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="nni-joint-ga",
    )
    onnx.checker.check_model(result, full_check=True)
    return result


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of ONNX's own operators."""
    return int(next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")))


def _exported(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], signature: Signature, opset: int
) -> onnx.ModelProto:
    written = io.BytesIO()
    quiet = redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO())
    with warnings.catch_warnings(), quiet[0], quiet[1], OwnForms():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                model,
                inputs,
                written,  # type: ignore[arg-type]  # any file will do without dynamo
                dynamo=False,
                opset_version=opset,
                input_names=list(signature.inputs),
                output_names=list(signature.outputs),
                dynamic_axes=signature.dynamic_axes(),
                # Keep every weight under its module's name: no folding into other tensors.
                do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE,
            )
        except Exception as error:  # torch raises many kinds here
            cause = (str(error).strip() or repr(error)).splitlines()[0]
            raise UnsupportedNetworkError(f"torch's ONNX exporter: {cause}") from error
    return onnx.load_from_string(written.getvalue())


def _flat(model: nn.Module, inputs: object) -> nn.Module:
    """The model as a function of the inputs' tensors that gives the outputs' tensors, in place."""
    nested = model.forward

    def forward(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensors(call(nested, with_tensors(inputs, iter(given)))))

    # Not a module around it, which would put a prefix to the names of all weights.
    model.forward = forward
    return model
