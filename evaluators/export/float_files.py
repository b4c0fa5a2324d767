"""The pruned network in float, for tools that quantize by themselves.

Its weights are the rounded ones, as real numbers: what was fine-tuned, and whose accuracy is
quoted. The float weights behind them were never run without their rounding. Batch norms are folded,
and no activation is rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from evaluators.export import checkpoint, onnx_exporter
from evaluators.export.graph import UnsupportedNetworkError

ONNX, STATE, PROGRAM = "model_float.onnx", "model_float.pt", "model_float.pt2"


@dataclass(frozen=True)
class FloatFiles:
    """What was written.

    Attributes:
        network: what the files hold.
        opset: of the ONNX file; None for the reason beside it.
        onnx_reason: why there is none.
    """

    network: nn.Module
    opset: int | None
    onnx_reason: str | None


def write_float(
    plain: nn.Module,
    inputs: object,
    folder: Path,
    metadata: Mapping[str, object],
    *,
    batches: Iterable[object] = (),
) -> FloatFiles:
    """Writes an ONNX file, a state dict and a program of `torch.export`.

    The state dict has the names of the model's parameters. `torch.load` and `torch.export.load`
    take the two files as they are.

    Args:
        plain: `FoldedModel.plain` as it was evaluated; left as it is.
        inputs: one batch `[N, ...]` of inputs, as the network takes them.
        folder: existing folder.
        metadata: JSON values that go into the program's file.
        batches: more inputs; an axis whose length differs among them is free.
    """
    network = copy.deepcopy(plain).eval()
    state = {name: x.detach().clone().contiguous() for name, x in network.state_dict().items()}
    torch.save(state, folder / STATE)
    batches = list(batches)
    checkpoint.save(network, inputs, metadata, folder / PROGRAM, batches=batches)
    try:
        exported = onnx_exporter.export(copy.deepcopy(network), inputs, batches=batches)
    except UnsupportedNetworkError as error:
        return FloatFiles(network, None, str(error))
    opset = onnx_exporter.opset_of(exported)
    onnx.save(onnx_exporter.model_proto(exported.graph, opset), str(folder / ONNX))
    return FloatFiles(network, opset, None)
