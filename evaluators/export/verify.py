"""Runs exported networks over a split and counts the predictions that differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from evaluators.export.fixed_point import Array
from evaluators.task import Batches

Run = Callable[[tuple[Array, ...]], Array]

OUTPUT_TOLERANCE = 1e-3
"""For outputs that are no class scores: allowed difference, in parts of the outputs' range."""


def torch_runner(model: nn.Module) -> Run:
    """Calls a torch network with numpy batches."""

    def run(inputs: tuple[Array, ...]) -> Array:
        with torch.no_grad():
            output = model(*(torch.from_numpy(np.ascontiguousarray(x)) for x in inputs))
        return np.asarray(output.detach().cpu().numpy())

    return run


def onnx_runner(path: Path, *, simulate: bool = True) -> Run:
    """Calls an ONNX file on the CPU, on one thread.

    Args:
        path: the file.
        simulate: compute the QDQ graph as it is written. Otherwise ONNX Runtime's defaults hold:
            it rounds biases to int32 with the step `input scale * weight scale`, which is coarse
            below 8 bits, and fuses layers into integer kernels.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if simulate:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run(inputs: tuple[Array, ...]) -> Array:
        return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])

    return run


def outputs_on(runners: dict[str, Run], batches: Batches) -> tuple[dict[str, Array], Array]:
    """Runs every network on the same batches, reading the split once.

    Returns:
        `{name: outputs [N, ...]}` and the targets `[N, ...]`.

    Raises:
        ValueError: the split is empty.
    """
    outputs: dict[str, list[Array]] = {name: [] for name in runners}
    targets: list[Array] = []
    for x, y in batches:
        inputs = tuple(np.asarray(v) for v in (x if isinstance(x, (tuple, list)) else (x,)))
        for name, run in runners.items():
            outputs[name].append(run(inputs))
        targets.append(np.asarray(y))
    if not targets:
        raise ValueError("the test split yields no batch: nothing to verify the export on")
    return {k: np.concatenate(v) for k, v in outputs.items()}, np.concatenate(targets)


def is_classification(outputs: Array, targets: Array) -> bool:
    """Whether outputs are class scores `[N, K]` for integer targets `[N]`."""
    return outputs.ndim == 2 and targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)


def mismatches(reference: Array, outputs: Array, *, classes: bool) -> int:
    """Counts samples whose prediction differs.

    Args:
        reference: `[N, ...]`.
        outputs: `[N, ...]`.
        classes: compare the highest score; otherwise a sample differs if any output is off by
            more than `OUTPUT_TOLERANCE` of the reference's range.
    """
    if classes:
        return int((reference.argmax(1) != outputs.argmax(1)).sum())
    span = float(reference.max() - reference.min()) or 1.0
    off = np.abs(reference - outputs).reshape(len(reference), -1).max(axis=1)
    return int((off > OUTPUT_TOLERANCE * span).sum())
