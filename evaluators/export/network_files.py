"""Writes the files of an evaluated network, and verifies them on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.compression.quantization import Calibration
from evaluators.export import arena, c_code, checkpoint, litert, packed, qdq, storage, verify
from evaluators.export.card import Metrics
from evaluators.export.fixed_point import Array
from evaluators.export.folding import FoldedModel, fold
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.integer import IntegerNetwork, lower
from evaluators.task import Batches, Metric
from hardware import Layer


def export_model(
    model: nn.Module,
    calibration: Calibration,
    layers: Sequence[Layer],
    inputs: tuple[torch.Tensor, ...],
    test: Batches,
    folder: Path,
    *,
    metric: Metric,
    calibration_batches: Sequence[torch.Tensor] = (),
    float_model: nn.Module | None = None,
    val: Batches | None = None,
    facts: Metrics | None = None,
) -> dict[str, Any]:
    """Writes the files of an evaluated network into a folder and verifies them on the test split.

    What is written, and measured, is the network of ``storage.as_stored``.

    Args:
        model: ``Result.model``.
        calibration: ``Result.calibration``.
        layers: ``Result.layers``.
        inputs: one batch of each input.
        test: batches, read once.
        folder: existing folder.
        metric: the task's.
        calibration_batches: inputs that give the ranges of operands of sums and means.
        float_model: scored on the same pass, for comparison.
        val: batches on which the written network's metric replaces the trained one's.
        facts: goes into the result; ``metric_name``, ``task``, ``params`` and ``val`` are used.

    Returns:
        ``facts``, and what was measured on the files.

    Raises:
        ValueError: model and calibration do not belong together, or ``test`` is empty.
    """
    facts = dict(facts or {})
    name = str(facts.setdefault("metric_name", "accuracy"))
    written = _write(fold(model, calibration), layers, inputs, calibration_batches, folder, facts)
    runners = {**_runners(written, folder), "trained": verify.torch_runner(model.eval())}
    if float_model is not None:
        runners["float"] = verify.torch_runner(float_model.eval())
    measured = _verify(written, runners, test, metric, name)
    if val is not None:
        facts["val"] = _val(runners["network"], val, metric, name, facts.get("val", {}))
    return {
        **facts,
        **measured,
        "files": {
            str(f.relative_to(folder)): f.stat().st_size
            for f in sorted(folder.rglob("*"))
            if f.is_file()
        },
    }


@dataclass(frozen=True)
class _Written:
    """The networks that an export's files hold, and why one is missing.

    Attributes:
        network: what ``model.pt`` and ``model.onnx`` compute.
        free_batch: whether ``model.pt`` takes batches of any size.
        integer: what ``c/`` and ``weights.bin`` hold; None for the reason beside it.
        reason: why there is no integer network.
        tflite: what ``model.tflite`` holds; None for the reason beside it.
        tflite_reason: why there is none.
        weights_bytes: size of ``weights.bin``; None if it wasn't written.
    """

    network: nn.Module
    free_batch: bool
    integer: IntegerNetwork | None
    reason: str | None
    tflite: IntegerNetwork | None
    tflite_reason: str | None
    weights_bytes: int | None


def _write(
    evaluated: FoldedModel,
    layers: Sequence[Layer],
    inputs: tuple[torch.Tensor, ...],
    batches: Sequence[torch.Tensor],
    folder: Path,
    facts: Mapping[str, object],
) -> _Written:
    """Writes all files but the JSON ones and the card."""
    title = f"{facts.get('task', 'network')}, exported by nni-joint-ga"
    folded, reason = _as_stored(evaluated, inputs, batches)
    network = folded.simulated().eval()
    qdq.write_onnx(folded, inputs, folder / "model.onnx")
    keys = ("task", "params", "seed", "epochs", "device", "versions")
    metadata = {k: facts[k] for k in keys if k in facts}
    free_batch = checkpoint.save(network, inputs, metadata, folder / "model.pt")
    integer = None if reason else lower(folded, inputs[0], batches or None)
    modules = _pack(folded, layers, integer)
    content = None
    if modules:
        content, _ = packed.weights_file(modules)
        (folder / "weights.bin").write_bytes(content)
        (folder / "weights.h").write_text(packed.header(modules, title), encoding="utf-8")
        if integer is not None:
            c_code.write_c(integer, modules, folder / "c", title)
    small, tflite_reason = _write_tflite(folded, inputs, batches, folder, reason)
    size = None if content is None else len(content)
    return _Written(network, free_batch, integer, reason, small, tflite_reason, size)


def _runners(written: _Written, folder: Path) -> dict[str, verify.Run]:
    """What runs each of the written files."""
    runners = {
        "network": verify.torch_runner(written.network),
        "onnx": verify.onnx_runner(folder / "model.onnx"),
        "onnx_default": verify.onnx_runner(folder / "model.onnx", simulate=False),
    }
    integer, small = written.integer, written.tflite
    if integer is not None:
        runners["integer"] = lambda x: integer(x[0])
    if small is not None:
        runners["tflite"] = litert.litert_runner(folder / "model.tflite", small)
    return runners


def _verify(
    written: _Written,
    runners: dict[str, verify.Run],
    test: Batches,
    metric: Metric,
    name: str,
) -> dict[str, object]:
    """Scores on the test split, and how many predictions differ between the files."""
    outputs, targets = verify.outputs_on(runners, test)
    classes = verify.is_classification(outputs["network"], targets)

    def differ(reference: str, other: str) -> int | None:
        if other not in outputs:
            return None
        return verify.mismatches(outputs[reference], outputs[other], classes=classes)

    scores = {name: _score(metric, outputs["network"], targets), "samples": len(targets)}
    others = ("float", "trained", "onnx", "integer", "tflite")
    scores |= {f"{k}_{name}": _score(metric, outputs[k], targets) for k in others if k in outputs}
    integer = written.integer
    return {
        "test": scores,
        "onnx_mismatches": differ("network", "onnx"),
        "onnx_mismatches_default_options": differ("network", "onnx_default"),
        "integer_mismatches": differ("onnx", "integer"),
        "integer_reason": written.reason,
        "integer_ram_bytes": None if integer is None else arena.plan(integer).size,
        "tflite_mismatches": differ("network", "tflite"),
        "tflite_reason": written.tflite_reason,
        "weights_bytes": written.weights_bytes,
        "free_batch": written.free_batch,
    }


def _val(
    run: verify.Run, val: Batches, metric: Metric, name: str, trained: Metrics
) -> dict[str, object]:
    """The trial's metrics with the written network's score in place of the trained one's."""
    found, wanted = verify.outputs_on({"network": run}, val)
    value = round(_score(metric, found["network"], wanted), 6)
    return {**trained, "default": value, name: value, f"trained_{name}": trained.get(name)}


def _score(metric: Metric, outputs: Array, targets: Array) -> float:
    return float(metric(torch.from_numpy(outputs), torch.from_numpy(targets)))


def _as_stored(
    folded: FoldedModel, inputs: tuple[torch.Tensor, ...], batches: Sequence[torch.Tensor]
) -> tuple[FoldedModel, str | None]:
    """The network to write; as it is, with the reason, if there is no integer form of it."""
    try:
        if len(inputs) != 1:
            raise UnsupportedNetworkError("the network has more than one input")
        return storage.as_stored(folded, inputs[0], batches), None
    except UnsupportedNetworkError as error:
        return folded, str(error)


def _write_tflite(
    folded: FoldedModel,
    inputs: tuple[torch.Tensor, ...],
    batches: Sequence[torch.Tensor],
    folder: Path,
    reason: str | None,
) -> tuple[IntegerNetwork | None, str | None]:
    """The network that was written, or why there is none."""
    if not litert.is_available():
        return None, "ai-edge-litert is not installed (pip install 'nni-joint-ga[litert]')"
    if reason is not None:
        return None, reason
    try:
        network = lower(folded, inputs[0], batches or None, wide_bits=8)
        litert.write_tflite(network, folded, folder / "model.tflite")
    except UnsupportedNetworkError as error:
        return None, str(error)
    return network, None


def _pack(
    folded: FoldedModel, layers: Sequence[Layer], integer: IntegerNetwork | None
) -> list[packed.PackedLayer]:
    modules = {layer.module for layer in layers if layer.is_weighted}
    if not modules <= set(folded.layers):
        return []
    return packed.pack(folded, layers, integer)
