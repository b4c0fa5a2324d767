"""Writes the folder of a chosen candidate, all of it or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.compression.quantization import Calibration
from evaluators.export import arena, c_code, card, checkpoint, litert, packed, qdq, storage, verify
from evaluators.export.folding import FoldedModel, fold
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.integer import IntegerNetwork, lower
from evaluators.pipeline import evaluate
from evaluators.task import Task
from evaluators.tracing.trace import trace
from hardware import Device, Layer, Network, estimate, load_device

CALIBRATION_BATCHES = 8
EPOCHS_FACTOR = 3
"""A chosen candidate is fine-tuned this many times longer than in its trial."""

Report = Callable[[dict[str, float]], None]


def export_candidate(
    task: Task,
    params: Mapping[str, Any],
    *,
    device: Device | str,
    out_dir: str | Path,
    epochs: int | None = None,
    seed: int = 0,
    network: Network | None = None,
    command: str = "",
    report: Report | None = None,
) -> dict[str, Any]:
    """Fine-tune a chromosome fully, evaluate it once on test data, write what can be deployed.

    Args:
        task: model and data; its `test` is read once.
        params: trial parameters; `uid` is ignored.
        device: profile, or its id or file.
        out_dir: folder to make; it may exist if it is empty.
        epochs: of fine-tuning; `EPOCHS_FACTOR` times the task's if None.
        seed: of fine-tuning.
        network: the task's network, traced if None.
        command: command line that makes this folder, for the card.
        report: called with metrics after each stage and epoch of fine-tuning.

    Returns:
        What `metrics.json` holds: `val` (the search's metrics), `test` (the metric of this and of
        the float network, `samples`), `onnx_mismatches`, `onnx_mismatches_default_options`,
        `integer_mismatches` (integer network against ONNX; None where there is none, with
        `integer_reason`), `tflite_mismatches` (None without `ai-edge-litert`), `size_kb`,
        `weights_bytes`, `files` (name: bytes) and more.

    Raises:
        FileExistsError: `out_dir` is not empty.
        ValueError: a chromosome for another model, or one that the device cannot run.
        OSError: writing failed; nothing is left at `out_dir`.
    """
    device = load_device(device) if isinstance(device, str) else device
    network = trace(task) if network is None else network
    epochs = EPOCHS_FACTOR * task.recipe.epochs if epochs is None else epochs
    with _whole_folder(Path(out_dir)) as folder:
        result = evaluate(
            task, params, device=device, network=network, epochs=epochs, seed=seed, report=report
        )
        facts: dict[str, Any] = {
            "task": task.name,
            "metric_name": task.metric_name,
            "device": device.id,
            "params": {k: v for k, v in params.items() if k != "uid"},
            "seed": seed,
            "epochs": epochs,
            "command": command or _command(task, device, epochs, seed),
            "versions": card.versions(),
            "val": result.metrics,
            "size_kb": result.metrics["size_kb"],
            "size_kb_float32": _float_kb(network.layers),
            "size_kb_int8": round(estimate(network.apply({}), device).size_kb, 3),
        }
        _write_json(folder / "params.json", facts["params"])
        network.save(folder / "network.json")
        metrics = export_model(
            result.model,
            result.calibration,
            result.layers,
            task.inputs,
            task.test,
            folder,
            metric=task.metric,
            calibration_batches=_first(task.train),
            float_model=task.model,
            val=task.val,
            facts=facts,
        )
        _write_json(folder / "metrics.json", metrics)
        lines = f"{_samples(task)} `test` was read once, by this export."
        page = card.render(metrics, result.layers, device, data=lines)
        (folder / "card.md").write_text(page, encoding="utf-8")
    return metrics


def export_model(
    model: nn.Module,
    calibration: Calibration,
    layers: Sequence[Layer],
    inputs: tuple[torch.Tensor, ...],
    test: Iterable[tuple[Any, Any]],
    folder: Path,
    *,
    metric: Callable[[Any, Any], float],
    calibration_batches: Sequence[torch.Tensor] = (),
    float_model: nn.Module | None = None,
    val: Iterable[tuple[Any, Any]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the files of an evaluated network into a folder and verify them on the test split.

    What is written, and measured, is the network of `storage.as_stored`.

    Args:
        model: `Result.model`.
        calibration: `Result.calibration`.
        layers: `Result.layers`.
        inputs: one batch of each input.
        test: batches, read once.
        folder: existing folder.
        metric: the task's.
        calibration_batches: inputs that give the ranges of operands of sums and means.
        float_model: scored on the same pass, for comparison.
        val: batches on which the written network's metric replaces the trained one's.
        facts: goes into the result; `metric_name`, `task`, `params` and `val` are used.

    Returns:
        `facts`, and what was measured on the files.

    Raises:
        ValueError: model and calibration do not belong together, or `test` is empty.
    """
    facts = dict(facts or {})
    name = str(facts.setdefault("metric_name", "accuracy"))
    title = f"{facts.get('task', 'network')}, exported by nni-joint-ga"
    folded, reason = _as_stored(fold(model, calibration), inputs, calibration_batches)
    network = folded.simulated().eval()
    qdq.write_onnx(folded, inputs, folder / "model.onnx")
    keys = ("task", "params", "seed", "epochs", "device", "versions")
    metadata = {k: facts[k] for k in keys if k in facts}
    free_batch = checkpoint.save(network, inputs, metadata, folder / "model.pt")
    integer = None if reason else lower(folded, inputs[0], calibration_batches or None)
    modules = _pack(folded, layers, integer)
    if modules:
        content, _ = packed.weights_file(modules)
        (folder / "weights.bin").write_bytes(content)
        (folder / "weights.h").write_text(packed.header(modules, title), encoding="utf-8")
        if integer is not None:
            c_code.write_c(integer, modules, folder / "c", title)

    small, tflite_reason = _write_tflite(folded, inputs, calibration_batches, folder, reason)
    runners = {
        "network": verify.torch_runner(network),
        "trained": verify.torch_runner(model.eval()),
        "onnx": verify.onnx_runner(folder / "model.onnx"),
        "onnx_default": verify.onnx_runner(folder / "model.onnx", simulate=False),
    }
    if float_model is not None:
        runners["float"] = verify.torch_runner(float_model.eval())
    if integer is not None:
        runners["integer"] = lambda x: integer(x[0])
    if small is not None:
        runners["tflite"] = litert.litert_runner(folder / "model.tflite", small)
    outputs, targets = verify.outputs_on(runners, test)
    classes = verify.is_classification(outputs["network"], targets)

    def differ(reference: str, other: str) -> int:
        return verify.mismatches(outputs[reference], outputs[other], classes=classes)

    def score(which: str) -> float:
        return float(metric(torch.from_numpy(outputs[which]), torch.from_numpy(targets)))

    scores = {name: score("network"), "samples": len(targets)}
    others = ("float", "trained", "onnx", "integer", "tflite")
    scores |= {f"{k}_{name}": score(k) for k in others if k in outputs}
    if val is not None:
        found, wanted = verify.outputs_on({"network": runners["network"]}, val)
        value = float(metric(torch.from_numpy(found["network"]), torch.from_numpy(wanted)))
        before = facts.get("val", {})
        facts["val"] = {**before, "default": round(value, 6), name: round(value, 6)}
        facts["val"][f"trained_{name}"] = before.get(name)
    return {
        **facts,
        "test": scores,
        "onnx_mismatches": differ("network", "onnx"),
        "onnx_mismatches_default_options": differ("network", "onnx_default"),
        "integer_mismatches": None if integer is None else differ("onnx", "integer"),
        "integer_reason": reason,
        "integer_ram_bytes": None if integer is None else arena.plan(integer).size,
        "tflite_mismatches": None if small is None else differ("network", "tflite"),
        "tflite_reason": tflite_reason,
        "weights_bytes": (folder / "weights.bin").stat().st_size if modules else None,
        "free_batch": free_batch,
        "files": {
            str(f.relative_to(folder)): f.stat().st_size
            for f in sorted(folder.rglob("*"))
            if f.is_file()
        },
    }


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


def _first(batches: Iterable[tuple[Any, Any]]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for inputs, _ in batches:
        if isinstance(inputs, torch.Tensor):
            found.append(inputs)
        if len(found) == CALIBRATION_BATCHES:
            break
    return found


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its name only when all is written."""
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file: give a folder for the export")
    if target.is_dir() and any(target.iterdir()):
        raise FileExistsError(
            f"{target} is not empty (it holds {next(target.iterdir()).name}, ...): "
            "give a new folder, or empty this one"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _float_kb(layers: Sequence[Layer]) -> float:
    """KB of the uncompressed network in float32: its weights and biases."""
    sizes = {
        layer.module: layer.out_channels * (layer.row_weights + int(layer.bias))
        for layer in layers
        if layer.is_weighted
    }
    return round(sum(sizes.values()) * 4 / 1024, 3)


def _samples(task: Task) -> str:
    counts = []
    for split in ("train", "val"):
        batches = getattr(task, split)
        inputs = getattr(batches, "inputs", None)
        number = f"{len(inputs)} samples" if inputs is not None else "its own loader"
        counts.append(f"`{split}`: {number}")
    return f"Task `{task.name}`: " + ", ".join(counts) + "."


def _command(task: Task, device: Device, epochs: int, seed: int) -> str:
    return (
        f"joint-ga export --task <module:function of {task.name}> --device {device.id} "
        f"--params params.json --epochs {epochs} --seed {seed} -o DIR"
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, default=float) + "\n", encoding="utf-8")
