"""Runs exported networks over a split and counts the predictions that differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from evaluators.export.fixed_point import Array
from evaluators.export.signature import INPUT
from evaluators.metrics.protocol import Metric
from evaluators.pytree import batch_size, call, is_tensor, named_tensors, tensors, with_tensors
from evaluators.scoring import SplitScore
from evaluators.task import Batches

Run = Callable[[Any], Any]
"""Takes a batch's inputs as the loader gives them. Gives arrays: one, nested as the network gives
them, or a tuple of all in their order."""

OUTPUT_TOLERANCE = 1e-3
"""For outputs that are no class scores: allowed difference, in parts of the outputs' range."""


def torch_runner(model: nn.Module) -> Run:
    """Calls a torch network with batches of torch or numpy; its outputs are nested as they are."""

    def run(inputs: Any) -> Any:
        given = (torch.as_tensor(np.ascontiguousarray(x)) for x in tensors(inputs))
        with torch.no_grad():
            output = call(model, with_tensors(inputs, given))
        return with_tensors(output, (x.detach().cpu().numpy() for x in tensors(output)))

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
    taken = {i.name for i in session.get_inputs()}

    def run(inputs: Any) -> Any:
        named = named_tensors(inputs, INPUT)
        # What the network doesn't read isn't in its file.
        feeds = {name: np.asarray(x) for name, x in named.items() if name in taken}
        outputs = tuple(np.asarray(x) for x in session.run(None, feeds))
        return outputs[0] if len(outputs) == 1 else outputs

    return run


@dataclass
class Predictions:
    """What several networks give for the same split.

    Attributes:
        outputs: by network and batch, all tensors of the outputs in order.
        scores: the metric, by network.
        sizes: samples of each batch.
        classes: whether the only output is scores of classes for integer targets.
    """

    outputs: dict[str, list[list[Array]]]
    scores: dict[str, float] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    classes: bool = False

    def differ(self, reference: str, other: str) -> int | None:
        """Samples of which two networks predict something else; None if one wasn't run."""
        if other not in self.outputs:
            return None
        pair = self.outputs[reference], self.outputs[other]
        return _count(*pair, self.sizes, classes=self.classes)


def predictions(
    runners: Mapping[str, Run],
    batches: Batches,
    metric: Metric,
    name: str,
    *,
    unscored: Collection[str] = (),
    split: str = "test",
) -> Predictions:
    """Runs every network on the same batches, reading the split once.

    Args:
        runners: by name; the first one's outputs are nested as the task's model nests them.
        batches: ``(inputs, targets)``.
        metric: the task's.
        name: of the metric.
        unscored: networks whose metric is not asked for.
        split: what the batches are, for messages.

    Raises:
        ValueError: the split is empty, or the metric fails.
    """
    found = Predictions({name: [] for name in runners})
    splits = {key: SplitScore(metric, name, split) for key in runners if key not in unscored}
    for inputs, targets in batches:
        nested = None
        for key, run in runners.items():
            raw = run(inputs)
            nested = raw if nested is None else nested
            arrays = tensors(raw)
            found.outputs[key].append([np.asarray(x) for x in arrays])
            if key in splits:
                outputs = with_tensors(nested, (torch.as_tensor(x) for x in arrays))
                splits[key].update(inputs, outputs, targets)
        if not found.sizes:
            given = np.asarray(targets) if is_tensor(targets) else np.zeros(())
            found.classes = is_tensor(nested) and is_classification(np.asarray(nested), given)
        found.sizes.append(batch_size(inputs))
    if not found.sizes:
        raise ValueError(f"the {split} split yields no batch: nothing to verify the export on")
    found.scores = {key: score.value() for key, score in splits.items()}
    return found


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
    return _count([[reference]], [[outputs]], [len(reference)], classes=classes)


def _count(
    reference: Sequence[Sequence[Array]],
    others: Sequence[Sequence[Array]],
    sizes: Sequence[int],
    *,
    classes: bool,
) -> int:
    """As `mismatches`, of several outputs by batch: a sample differs if one of its outputs does."""
    spans = [_span([batch[i] for batch in reference]) for i in range(len(reference[0]))]
    count = 0
    for batch, other, size in zip(reference, others, sizes, strict=True):
        off = np.zeros(size, bool)
        for one, two, span in zip(batch, other, spans, strict=True):
            if one.shape != two.shape:
                off[:] = True
            elif classes:
                off |= one.argmax(1) != two.argmax(1)
            else:
                differs = one != two
                if np.issubdtype(one.dtype, np.floating):
                    differs &= ~(np.abs(one - two) <= OUTPUT_TOLERANCE * span)
                per_sample = one.shape[:1] == (size,)
                off |= differs.reshape(size, -1).any(axis=1) if per_sample else differs.any()
        count += int(off.sum())
    return count


def _span(batches: Sequence[Array]) -> float:
    flat = np.concatenate([x[np.isfinite(x)].astype(np.float64) for x in batches])
    return float(np.ptp(flat)) if flat.size and np.ptp(flat) else 1.0
