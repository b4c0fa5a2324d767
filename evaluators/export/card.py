"""`card.md`: what the exported network is, what it reaches, and how to make it again."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from hardware import Device, Layer, layer_costs
from hardware.ir.layer import POWER_OF_TWO
from hardware.stacks import in_words

Metrics = Mapping[str, Any]
"""What `metrics.json` holds."""

_PACKAGES = ("nni-joint-ga", "nni", "torch", "onnx", "onnxruntime", "deap")

_FILES = {
    "model.onnx": "QDQ network for ONNX Runtime",
    "model.pt2": "`torch.export` program, needs torch only: "
    '`torch.export.load("model.pt2").module()`, or `evaluators.export.load("model.pt2")`',
    "weights.bin": "packed weights and requantization for microcontrollers; layout in `weights.h`",
    "c/": "self-contained C of the integer network; its header says how to call it",
    "model.tflite": "LiteRT and tflite-micro, int8",
    "model_int4.tflite": "the same with int4 weights where there are 4 bits or fewer, for "
    "tflite-micro and LiteRT",
    "model.pte": "ExecuTorch with its XNNPACK backend, int8",
    "model_float.onnx": "the pruned network in float, for tools that quantize by themselves",
    "model_float.pt2": 'the same as a program: `torch.export.load("model_float.pt2").module()`',
    "model_float.pt": 'its weights, batch norms folded: `torch.load("model_float.pt")`',
    "params.json": "the chromosome",
    "network.json": "layers and channel groups that the chromosome names",
    "metrics.json": "all figures of this page",
}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that an export depends on."""
    found = {d.name: d.version for d in importlib.metadata.distributions() if d.name in _PACKAGES}
    return {"python": platform.python_version()} | {k: found[k] for k in _PACKAGES if k in found}


def render(metrics: Metrics, layers: Sequence[Layer], device: Device, *, data: str) -> str:
    """Returns the page.

    Args:
        metrics: what `metrics.json` holds.
        layers: of the exported network, bits set.
        device: that costs are quoted for.
        data: one line about the splits.
    """
    lines = [
        f"# {metrics['task']} on {device.name}",
        "",
        f"Pruned and quantized by `nni-joint-ga`, fine-tuning epochs: {metrics['epochs']}, "
        f"seed {metrics['seed']}.",
        "",
        *_figures(metrics),
        "",
        *(f"**Does not fit.** {line}.\n" for line in metrics.get("exceeds", ())),
        "RAM, flash, latency and energy are estimates, not measurements, for the device with "
        f"{in_words(device.stack)}.",
        *_size_note(metrics),
        "",
        *_parity(metrics),
        "",
        "## Files",
        "",
        *(
            f"- `{k}`: {text}"
            + (f" ({metrics['files'][k]} bytes)" if k in metrics["files"] else "")
            for k, text in _FILES.items()
            if k in metrics["files"] or k == "metrics.json" or _folder(k, metrics["files"])
        ),
        *_notes(metrics),
        "",
        "## Layers",
        "",
        "| layer | operator | output | weight bits | input bits | bytes | MACs |",
        "|---|---|---|---|---|---|---|",
        *_layer_rows(layers, device),
        "",
        "## Data",
        "",
        data,
        "",
        "## Make it again",
        "",
        f"```\n{metrics['command']}\n```",
        "",
        "Chromosome:",
        "",
        f"```\n{metrics['params']}\n```",
        "",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in metrics["versions"].items()),
        "",
    ]
    return "\n".join(lines)


def _figures(metrics: Metrics) -> list[str]:
    name, test, val = metrics["metric_name"], metrics["test"], metrics["val"]
    return [
        "| figure | this network | float network |",
        "|---|---|---|",
        f"| {name}, test ({test['samples']} samples, read once) | {test[name]:.4f} "
        f"| {test['float_' + name]:.4f} |",
        f"| {name}, validation | {val[name]:.4f} | {val['baseline_' + name]:.4f} |",
        f"| size, KB | {val['size_kb']} | {metrics['size_kb_float32']} "
        f"({metrics['size_kb_int8']} as uniform int8) |",
        *(
            [f"| flash with code and tables, KB (model) | {val['flash_kb']} | |"]
            if "flash_kb" in val
            else []
        ),
        f"| peak RAM, KB (model) | {val['ram_kb']} | |",
        f"| latency, ms (model) | {val['latency_ms']} | |",
        f"| energy, mJ (model) | {val['energy_mj']} | |",
        f"| MACs | {val['macs']} | |",
    ]


def _parity(metrics: Metrics) -> list[str]:
    test, name = metrics["test"], metrics["metric_name"]
    lines = ["## Parity", ""]
    default = f"{metrics['onnx_mismatches_default_options']} with its integer kernels (its default)"
    lines.append(_compared(metrics, "onnx", "`model.onnx`", "ONNX Runtime", f", {default}"))
    before = test.get(f"trained_{name}")
    if before is not None and metrics["integer_mismatches"] is not None:
        lines.append(
            "- The evaluated network has every tensor rounded as the device stores it; as it was "
            f"trained, with sums and means in float, its {name} on test is {before:.4f}."
        )
    if metrics["integer_mismatches"] is None:
        lines.append(f"- no integer network: {metrics['integer_reason']}.")
    else:
        lines.append(
            f"- integer network (`c/`): {metrics['integer_mismatches']} of {test['samples']} test "
            "predictions differ from `model.onnx`; its arena has "
            f"{metrics['integer_ram_bytes']} bytes, input and output included."
        )
        lines.append(f"- {_c_run(metrics)}")
    lines.append(_compared(metrics, "tflite", "`model.tflite`", "LiteRT"))
    if metrics["tflite_mismatches"] is not None:
        runtime = metrics["tflite_int4_runtime"]
        lines.append(_compared(metrics, "tflite_int4", "`model_int4.tflite`", runtime))
    lines.append(_compared(metrics, "pte", "`model.pte`", "ExecuTorch"))
    pruned = test.get(f"pruned_float_{name}")
    lines.append(
        _compared(
            metrics, "float_onnx", "`model_float.onnx`", "ONNX Runtime",
            "" if pruned is None else f", whose {name} on test is {pruned:.4f}",
            "the pruned network in float",
        )
    )  # fmt: skip
    return lines


def _compared(
    metrics: Metrics,
    kind: str,
    file: str,
    runtime: str,
    more: str = "",
    other: str = "the evaluated network",
) -> str:
    """How many predictions of a file differ, or why there is none."""
    count, total = metrics[f"{kind}_mismatches"], metrics["test"]["samples"]
    if count is None:
        return f"- no {file}: {metrics[f'{kind}_reason']}."
    return f"- {file} in {runtime}: {count} of {total} test predictions differ from {other}{more}."


def _notes(metrics: Metrics) -> list[str]:
    """What a reader of the files has to know before choosing one."""
    lines = [""]
    if metrics["onnx_opset"] is not None:
        lines.append(
            f"`model.onnx` has opset {metrics['onnx_opset']}, and 8-bit integers of type "
            f"{metrics['onnx_integers']}."
        )
    if metrics["float_onnx_opset"] is not None:
        lines.append(f"`model_float.onnx` has opset {metrics['float_onnx_opset']}.")
    if metrics["free_batch_reason"] is not None:
        lines.append(
            "`model.pt2` takes batches of the example's size only: torch.export says "
            f"'{metrics['free_batch_reason']}'."
        )
    return lines if len(lines) > 1 else []


def _c_run(metrics: Metrics) -> str:
    """Who computed the integer network's predictions: the C, or its Python reference."""
    if metrics["c_reason"] is not None:
        return (
            f"The C was not run here: {metrics['c_reason']}. The integer network's predictions "
            "are those of its Python reference."
        )
    total, run = metrics["test"]["samples"], metrics["c_samples"]
    rest = "" if run == total else f" The other {total - run} are its Python reference's."
    return f"The C, compiled for this machine, gave {run} of these predictions.{rest}"


def _size_note(metrics: Metrics) -> list[str]:
    stored = metrics["weights_bytes"]
    if stored is None or round(stored / 1024, 3) == metrics["size_kb"]:
        return []
    return [
        f"`weights.bin` has {stored} bytes: this stack stores its requantization in another way."
    ]


def _layer_rows(layers: Sequence[Layer], device: Device) -> list[str]:
    rows = []
    for layer, cost in zip(layers, layer_costs(layers, device), strict=True):
        shape = "x".join(map(str, layer.out_shape))
        bits: tuple[object, object] = ("", "")
        if layer.is_weighted:
            bits = (_weight_text(layer), layer.a_bits)
        size = round(cost["size_kb"] * 1024)
        rows.append(
            f"| {layer.name} | {layer.op} | {shape} | {bits[0]} | {bits[1]} | {size} "
            f"| {cost['macs']} |"
        )
    return rows


def _weight_text(layer: Layer) -> str:
    powers = " (powers of two)" if layer.w_scheme == POWER_OF_TWO else ""
    zeros = f", {layer.zeros} of {layer.weights} zero" if layer.zeros else ""
    return f"{layer.w_bits}{powers}{zeros}"


def _folder(name: str, files: Mapping[str, int]) -> bool:
    return name.endswith("/") and any(f.startswith(name) for f in files)
