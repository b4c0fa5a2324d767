"""Writes the folder of a chosen candidate, all of it or nothing."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluators.export import board, c_code, card, qdq
from evaluators.export.network_files import Say, export_model, silent
from evaluators.pipeline import Report, Result, run_trial
from evaluators.process_state import process_as_found
from evaluators.supernet.weights import Supernet
from evaluators.task import Batches, Task
from evaluators.tracing.trace import trace
from hardware import Device, Layer, Network, device_of, estimate, load_device

CALIBRATION_BATCHES = 8
EPOCHS_FACTOR = 3
"""A chosen candidate is fine-tuned this many times longer than in its trial."""


# Long: what it returns takes a third of it to say.
@process_as_found(threads=1)
def export_candidate(
    task: Task,
    params: Mapping[str, object],
    *,
    device: Device | str | Path,
    out_dir: str | Path,
    epochs: int | None = None,
    seed: int = 0,
    network: Network | None = None,
    command: str = "",
    report: Report | None = None,
    c_prefix: str = c_code.DEFAULT_PREFIX,
    onnx_integers: str = qdq.INTEGERS[0],
    supernet: Supernet | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Fine-tunes a chromosome fully, evaluates it once on test data, writes what can be deployed.

    Args:
        task: model and data; its ``test`` is read once.
        params: trial parameters; ``uid`` is ignored.
        device: profile, or its id or file.
        out_dir: folder to make; it may exist if it is empty.
        epochs: of fine-tuning; :data:`EPOCHS_FACTOR` times the recipe's if None.
        seed: of fine-tuning.
        network: the task's network, traced if None.
        command: command line that makes this folder, for the card.
        report: called with metrics after each stage and epoch of fine-tuning.
        c_prefix: of the files and external symbols in ``c/``.
        onnx_integers: type of integers of up to 8 bits in ``model.onnx``, of ``qdq.INTEGERS``.
        supernet: what fine-tuning starts from in place of the float model.
        say: told a line about each file as it is written.

    Returns:
        What ``metrics.json`` holds: ``val`` (the search's metrics), ``test`` (the metric of this
        and of the float network, ``samples``), ``onnx_mismatches``,
        ``onnx_mismatches_default_options``, ``tflite_mismatches``, ``tflite_int4_mismatches``,
        ``pte_mismatches``, ``float_onnx_mismatches`` (against the pruned network in float) and
        ``integer_mismatches`` (against ONNX; the C ran ``c_samples``), ``size_kb``,
        ``weights_bytes``, ``files`` (name: bytes), ``exceeds`` (what the board lacks) and more.
        ``..._reason`` says why one is missing.

    Raises:
        FileExistsError: ``out_dir`` is not empty.
        ValueError: a chromosome of another model or device, a prefix that C can't use.
        OSError: writing failed; nothing is left at ``out_dir``.
    """
    c_code.check_prefix(c_prefix)
    qdq.check_integers(onnx_integers)
    device = load_device(device)
    network = trace(task) if network is None else network
    device = device_of(network, device)
    epochs = EPOCHS_FACTOR * task.recipe.epochs if epochs is None else epochs
    with _whole_folder(Path(out_dir)) as folder:
        result = run_trial(
            task, params, device=device, network=network, epochs=epochs, seed=seed,
            report=report, supernet=supernet,
        )  # fmt: skip
        facts = _facts(task, params, device, network, result, epochs, seed, command)
        _write_json(folder / "params.json", facts["params"])
        network.save(folder / "network.json")
        metrics = _write_network(task, result, folder, facts, c_prefix, onnx_integers, say)
        metrics["exceeds"] = board.exceeded(metrics, device)
        _write_json(folder / "metrics.json", metrics)
        lines = f"{_samples(task)} `test` was read once, by this export."
        page = card.render(metrics, result.layers, device, data=lines)
        (folder / "card.md").write_text(page, encoding="utf-8")
    return metrics


def _write_network(
    task: Task,
    result: Result,
    folder: Path,
    facts: card.Metrics,
    c_prefix: str,
    onnx_integers: str,
    say: Say,
) -> dict[str, Any]:
    """Writes the files that hold the network; returns what `metrics.json` is to say."""
    return export_model(
        result.model,
        result.calibration,
        result.layers,
        task.example_input,
        task.test,
        folder,
        metric=task.metric,
        calibration_batches=_first(task.train),
        float_model=task.model,
        val=task.val,
        facts=facts,
        c_prefix=c_prefix,
        onnx_integers=onnx_integers,
        say=say,
    )


def _facts(
    task: Task,
    params: Mapping[str, object],
    device: Device,
    network: Network,
    result: Result,
    epochs: int,
    seed: int,
    command: str,
) -> dict[str, Any]:
    """What is known of an exported candidate before its files are there."""
    return {
        "task": task.name,
        "metric_name": task.metric_name,
        "device": device.id,
        "stack": device.stack,
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


def _first(batches: Batches) -> list[object]:
    return [inputs for inputs, _ in itertools.islice(batches, CALIBRATION_BATCHES)]


def check_new_folder(target: Path) -> None:
    """Raises a ``FileExistsError`` unless the folder is new or empty."""
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file: give a folder for the export")
    if target.is_dir() and any(target.iterdir()):
        raise FileExistsError(
            f"{target} is not empty (it holds {next(target.iterdir()).name}, ...): "
            "give a new folder, or empty this one"
        )


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its name only when all is written."""
    check_new_folder(target)
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


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, default=float) + "\n", encoding="utf-8")
