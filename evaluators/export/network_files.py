"""Writes the files of an evaluated network, and verifies them on the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from evaluators.compression.quantization import Calibration
from evaluators.export import (
    arena,
    c_code,
    checkpoint,
    float_files,
    host,
    packed,
    pte,
    qdq,
    recurrent,
    storage,
    tflite_files,
    verify,
)
from evaluators.export.card import Metrics
from evaluators.export.fixed_point import AccumulatorError
from evaluators.export.folding import FoldedModel, fold
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.integer import lower
from evaluators.export.integer_network import IntegerNetwork
from evaluators.metrics.protocol import Metric
from evaluators.pytree import tensors
from evaluators.task import Batches
from hardware import Layer

Say = Callable[[str], None]


def silent(_line: str) -> None:
    """For callers that tell nobody."""


def export_model(
    model: nn.Module,
    calibration: Calibration,
    layers: Sequence[Layer],
    inputs: object,
    test: Batches,
    folder: Path,
    *,
    metric: Metric,
    calibration_batches: Sequence[object] = (),
    float_model: nn.Module | None = None,
    val: Batches | None = None,
    facts: Metrics | None = None,
    c_prefix: str = c_code.DEFAULT_PREFIX,
    onnx_integers: str = qdq.INTEGERS[0],
    say: Say = silent,
) -> dict[str, Any]:
    """Writes the files of an evaluated network into a folder and verifies them on the test split.

    What is written, and measured, is the network of ``storage.as_stored``.

    Args:
        model: ``Result.model``.
        calibration: ``Result.calibration``.
        layers: ``Result.layers``.
        inputs: one batch of inputs, as the model takes them: a tensor, a tuple or a dict.
        test: batches, read once.
        folder: existing folder.
        metric: the task's.
        calibration_batches: inputs that give the ranges of operands of sums and means. An axis
            that is longer in one of them than in another is free in the files.
        float_model: scored on the same pass, for comparison.
        val: batches on which the written network's metric replaces the trained one's.
        facts: goes into the result; ``metric_name``, ``task``, ``params`` and ``val`` are used.
        c_prefix: of the files and symbols in ``c/``.
        onnx_integers: type of integers of up to 8 bits in ``model.onnx``, of ``qdq.INTEGERS``.
        say: told a line about each file as it is written, and before they are verified.

    Returns:
        ``facts``, and what was measured on the files.

    Raises:
        HostRunError: the exported C crashed on this machine, or failed its own test vector.
        ValueError: model and calibration do not belong together, or ``test`` is empty.
    """
    facts = dict(facts or {})
    name = str(facts.setdefault("metric_name", "accuracy"))
    folded = fold(model, calibration, inputs)
    options = _Options(c_prefix, onnx_integers)
    files = _NewFiles(folder, say)
    written = _write(folded, layers, inputs, calibration_batches, files, facts, options)
    say("verifying the files on the test split")
    runners = {**_runners(written, folder), "trained": verify.torch_runner(model.eval())}
    if float_model is not None:
        runners["float"] = verify.torch_runner(float_model.eval())
    measured = _measured(written, folder, runners, test, metric, name)
    if val is not None:
        facts["val"] = _val(runners["network"], val, metric, name, facts.get("val", {}))
    return {**facts, **measured, **asdict(options), "files": files.sizes()}


class _NewFiles:
    """Says which files have come into a folder since it was last asked."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self._say = say
        self._known = set(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Bytes of all files, by their names within the folder."""
        files = (f for f in sorted(self.folder.rglob("*")) if f.is_file())
        return {str(f.relative_to(self.folder)): f.stat().st_size for f in files}

    def tell(self) -> None:
        for name, size in self.sizes().items():
            if name not in self._known:
                self._known.add(name)
                self._say(f"wrote {name}, {size:,} bytes")


@dataclass(frozen=True)
class _Written:
    """The networks that an export's files hold, and why one is missing.

    Attributes:
        network: what ``model.pt2`` and ``model.onnx`` compute.
        batch_reason: why ``model.pt2`` doesn't take batches of any size; None if it does.
        onnx_opset: of ``model.onnx``; None for the reason beside it.
        onnx_reason: why there is none.
        floats: the files of the network in float.
        integer: what ``c/`` and ``weights.bin`` hold; None for the reason beside it.
        reason: why there is no integer network.
        tflite: the files for LiteRT and tflite-micro.
        pte_reason: why there is no ``model.pte``; None if there is.
        weights_bytes: size of ``weights.bin``; None if it wasn't written.
    """

    network: nn.Module
    batch_reason: str | None
    onnx_opset: int | None
    onnx_reason: str | None
    floats: float_files.FloatFiles
    integer: IntegerNetwork | None
    reason: str | None
    tflite: tflite_files.TFLiteFiles
    pte_reason: str | None
    weights_bytes: int | None


@dataclass(frozen=True)
class _Options:
    """What a user chooses of the files."""

    c_prefix: str
    onnx_integers: str


def _write(
    evaluated: FoldedModel,
    layers: Sequence[Layer],
    inputs: object,
    batches: Sequence[object],
    files: _NewFiles,
    facts: Mapping[str, object],
    options: _Options,
) -> _Written:
    """Writes all files but the JSON ones and the card."""
    folder = files.folder
    title = f"{facts.get('task', 'network')}, exported by nni-joint-ga"
    given, calibration = tensors(inputs), [tensors(batch)[0] for batch in batches]
    folded, reason = _as_stored(evaluated, given, calibration)
    network = folded.simulated().eval()
    onnx_opset, onnx_reason = None, None
    try:
        onnx_opset = qdq.write_onnx(
            folded,
            inputs,
            folder / "model.onnx",
            batches=batches,
            integers=options.onnx_integers,
        )
    except UnsupportedNetworkError as error:
        onnx_reason = str(error)
    files.tell()
    keys = ("task", "params", "seed", "epochs", "device", "versions")
    metadata = {k: facts[k] for k in keys if k in facts}
    model_file = folder / checkpoint.FILE
    batch_reason = checkpoint.save(network, inputs, metadata, model_file, batches=batches)
    files.tell()
    floats = float_files.write_float(evaluated.plain, inputs, folder, metadata, batches=batches)
    files.tell()
    integer, c_reason = _lower(folded, given, calibration, reason)
    modules = _pack(folded, layers, integer)
    size = None
    if modules:
        size = _write_weights(modules, integer, given[0], folder, title, options.c_prefix)
    files.tell()
    tflite = tflite_files.write(folded, given[0], calibration, folder, reason)
    pte_reason = _write_pte(folded, inputs, batches, folder)
    files.tell()
    return _Written(
        network,
        batch_reason,
        onnx_opset,
        onnx_reason,
        floats,
        integer,
        c_reason,
        tflite,
        pte_reason,
        size,
    )


def _write_weights(
    modules: Sequence[packed.PackedLayer],
    integer: IntegerNetwork | None,
    inputs: torch.Tensor,
    folder: Path,
    title: str,
    prefix: str,
) -> int:
    """Writes the packed weights and, of an integer network, the C; returns the weights' bytes."""
    content, _ = packed.weights_file(modules)
    (folder / "weights.bin").write_bytes(content)
    (folder / "weights.h").write_text(packed.header(modules, title), encoding="utf-8")
    if integer is not None:
        example = inputs.detach().cpu().numpy()
        c_code.write_c(integer, modules, folder / "c", title, example=example, prefix=prefix)
    return len(content)


def _lower(
    folded: FoldedModel,
    inputs: Sequence[torch.Tensor],
    batches: Sequence[torch.Tensor],
    reason: str | None,
) -> tuple[IntegerNetwork | None, str | None]:
    """The network for `c/`, or why there is none."""
    if reason is not None:
        return None, reason
    integer = lower(folded, inputs[0], batches or None)
    try:
        c_code.check_ranges(integer)
    except UnsupportedNetworkError as error:
        return None, str(error)
    return integer, None


def _runners(written: _Written, folder: Path) -> dict[str, verify.Run]:
    """What runs each of the written files."""
    runners = {"network": verify.torch_runner(written.network)}
    if written.onnx_reason is None:
        runners["onnx"] = verify.onnx_runner(folder / "model.onnx")
        runners["onnx_default"] = verify.onnx_runner(folder / "model.onnx", simulate=False)
    integer = written.integer
    if integer is not None:
        runners["integer"] = lambda x: integer(np.asarray(tensors(x)[0]))
    runners["pruned_float"] = verify.torch_runner(written.floats.network)
    if written.floats.onnx_reason is None:
        runners["float_onnx"] = verify.onnx_runner(folder / float_files.ONNX)
    if written.pte_reason is None:
        runners["pte"] = pte.pte_runner(folder / pte.FILE)
    return {**runners, **written.tflite.runners(folder)}


def _measured(
    written: _Written,
    folder: Path,
    runners: dict[str, verify.Run],
    test: Batches,
    metric: Metric,
    name: str,
) -> dict[str, object]:
    """As `_verify`, the integer network being run by its C where that can be compiled."""
    if written.integer is None or not (folder / "c").exists():
        reason = written.reason or "the weights could not be packed"
        found = _verify(written, runners, test, metric, name)
        return {**found, "c_samples": None, "c_reason": reason}
    with host.checked_run(folder / "c", written.integer) as run:
        found = _verify(written, {**runners, "integer": run}, test, metric, name)
        return {**found, "c_samples": run.samples, "c_reason": run.reason}


def _verify(
    written: _Written,
    runners: dict[str, verify.Run],
    test: Batches,
    metric: Metric,
    name: str,
) -> dict[str, object]:
    """Scores on the test split, and how many predictions differ between the files."""
    found = verify.predictions(runners, test, metric, name, unscored=("onnx_default", "float_onnx"))
    scores = {name: found.scores["network"], "samples": sum(found.sizes)}
    scores |= {f"{k}_{name}": v for k, v in found.scores.items() if k != "network"}
    integer = written.integer
    return {
        "test": scores,
        "onnx_mismatches": found.differ("network", "onnx"),
        "onnx_mismatches_default_options": found.differ("network", "onnx_default"),
        "onnx_reason": written.onnx_reason,
        "onnx_opset": written.onnx_opset,
        "float_onnx_mismatches": found.differ("pruned_float", "float_onnx"),
        "float_onnx_reason": written.floats.onnx_reason,
        "float_onnx_opset": written.floats.opset,
        "integer_mismatches": found.differ("network" if written.onnx_reason else "onnx", "integer"),
        "integer_reason": written.reason,
        "integer_ram_bytes": None if integer is None else arena.plan(integer).size,
        "tflite_mismatches": found.differ("network", "tflite"),
        "tflite_reason": written.tflite.reason,
        "tflite_int4_mismatches": found.differ("network", "tflite_int4"),
        "tflite_int4_reason": written.tflite.int4_reason,
        "tflite_int4_runtime": written.tflite.int4_runtime,
        "pte_mismatches": found.differ("network", "pte"),
        "pte_reason": written.pte_reason,
        "weights_bytes": written.weights_bytes,
        "free_batch": written.batch_reason is None,
        "free_batch_reason": written.batch_reason,
    }


def _val(
    run: verify.Run, val: Batches, metric: Metric, name: str, trained: Metrics
) -> dict[str, object]:
    """The trial's metrics with the written network's score in place of the trained one's."""
    found = verify.predictions({"network": run}, val, metric, name, split="val")
    value = round(found.scores["network"], 6)
    return {**trained, "default": value, name: value, f"trained_{name}": trained.get(name)}


def _as_stored(
    folded: FoldedModel, inputs: Sequence[torch.Tensor], batches: Sequence[torch.Tensor]
) -> tuple[FoldedModel, str | None]:
    """The network to write; as it is, with the reason, if there is no integer form of it."""
    try:
        if len(inputs) != 1:
            raise UnsupportedNetworkError("the network has more than one input")
        return storage.as_stored(folded, inputs[0], batches), None
    except UnsupportedNetworkError as error:
        return folded, str(error)


def _write_pte(
    folded: FoldedModel, inputs: object, batches: Sequence[object], folder: Path
) -> str | None:
    """Why there is no file for ExecuTorch; None if there is."""
    if not pte.is_available():
        return pte.NOT_INSTALLED
    try:
        pte.write_pte(folded, inputs, folder / pte.FILE, batches=batches)
    except UnsupportedNetworkError as error:
        return str(error)
    return None


def _pack(
    folded: FoldedModel, layers: Sequence[Layer], integer: IntegerNetwork | None
) -> list[packed.PackedLayer]:
    modules = {layer.module for layer in layers if layer.is_weighted}
    known = set(folded.layers) | (set() if integer is None else recurrent.modules(folded))
    if not modules <= known:
        return []
    try:
        return packed.pack(folded, layers, integer)
    except AccumulatorError:
        # The record of such a layer has no place for its factors.
        return []
