"""`card.md`: what the exported network is, what it reaches, and how to make it again."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from hardware import Device, Layer, layer_costs
from hardware.ir.layer import POWER_OF_TWO

Metrics = Mapping[str, Any]
"""What `metrics.json` holds."""

_PACKAGES = ("nni-joint-ga", "nni", "torch", "onnx", "onnxruntime", "deap")

_FILES = {
    "model.onnx": "QDQ network (opset 21) for ONNX Runtime",
    "model.pt": "`torch.export` program, needs torch only: "
    '`torch.export.load("model.pt").module()`, or `evaluators.export.load("model.pt")`',
    "weights.bin": "packed weights and requantization for microcontrollers; layout in `weights.h`",
    "c/": "self-contained C of the integer network: `infer()` in `model.h`",
    "model.tflite": "LiteRT, int8",
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
        "RAM, latency and energy are estimates for the device and its software stack "
        f"({device.stack}), not measurements.",
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
        f"| peak RAM, KB (model) | {val['ram_kb']} | |",
        f"| latency, ms (model) | {val['latency_ms']} | |",
        f"| energy, mJ (model) | {val['energy_mj']} | |",
        f"| MACs | {val['macs']} | |",
    ]


def _parity(metrics: Metrics) -> list[str]:
    test, name = metrics["test"], metrics["metric_name"]
    total = test["samples"]
    lines = [
        "## Parity",
        "",
        f"- `model.onnx` in ONNX Runtime: {metrics['onnx_mismatches']} of {total} test predictions "
        "differ from the evaluated network, "
        f"{metrics['onnx_mismatches_default_options']} with its integer kernels (its default).",
    ]
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
            f"- integer network (`c/`): {metrics['integer_mismatches']} of {total} test "
            "predictions differ from `model.onnx`; its arena has "
            f"{metrics['integer_ram_bytes']} bytes, input and output included."
        )
    if metrics["tflite_mismatches"] is not None:
        lines.append(
            f"- `model.tflite` in LiteRT: {metrics['tflite_mismatches']} of {total} test "
            "predictions differ from the evaluated network."
        )
    return lines


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
