"""Every way out of the house for the MLPerf Tiny networks: size, runtime, predictions that differ.

    python -m benchmarks.export.ways_out ../shared/data --out ways_out.json

The networks have MLPerf's weights. Their bits are calibrated on 64 samples and not fine-tuned: what
is compared is what the files compute. Accuracies are no claim about the method. Prints a Markdown
table; a file that is missing has its reason in its place.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators import Task, trace
from evaluators.batches import ArrayBatches
from evaluators.datasets.cifar10 import load_cifar10
from evaluators.datasets.vww import load_vww_pack
from evaluators.export import export_candidate
from evaluators.models.autoencoder import Autoencoder
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.mobilenet import MobileNetV1
from evaluators.models.reference import load_reference
from evaluators.models.resnet import resnet8
from evaluators.training import accuracy
from hardware import Network

DEVICE = "stm32l4r5"
CALIBRATION = 64

CHROMOSOMES: dict[str, tuple[tuple[int, ...], float]] = {
    "w8a8": ((8,), 0.0),
    "w4/w8 a8": ((8, 4), 0.0),
    "w2/w4 a8, 25 % pruned": ((4, 2), 0.25),
}
"""Bits of weights, one layer after the other, and the part of all channels that is pruned."""


class Way(NamedTuple):
    """A file, what reads it, and under which names `metrics.json` speaks of it."""

    file: str
    runtime: str
    mismatches: str
    reason: str
    score: str


WAYS = (
    Way("model.onnx", "ONNX Runtime", "onnx_mismatches", "onnx_reason", "onnx_"),
    Way(
        "model.onnx",
        "ONNX Runtime, integer kernels",
        "onnx_mismatches_default_options",
        "onnx_reason",
        "onnx_default_",
    ),
    Way("c/", "gcc, this machine", "integer_mismatches", "integer_reason", "integer_"),
    Way("model.tflite", "LiteRT", "tflite_mismatches", "tflite_reason", "tflite_"),
    Way(
        "model_int4.tflite",
        "tflite-micro",
        "tflite_int4_mismatches",
        "tflite_int4_reason",
        "tflite_int4_",
    ),
    Way("model.pte", "ExecuTorch", "pte_mismatches", "pte_reason", "pte_"),
    Way(
        "model_float.onnx",
        "ONNX Runtime",
        "float_onnx_mismatches",
        "float_onnx_reason",
        "pruned_float_",
    ),
)


def images(pictures: np.ndarray, labels: np.ndarray, scale: float) -> tuple[Tensor, Tensor]:
    """Pictures (N, H, W, 3) in 0..255 as float (N, 3, H, W), and their labels."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() * scale
    return x.contiguous(), torch.from_numpy(np.asarray(labels, np.int64))


def cifar10(folder: Path) -> tuple[Tensor, Tensor]:
    found = load_cifar10(folder)
    return images(found.test_images, found.test_labels, 1.0)


def keywords(folder: Path) -> tuple[Tensor, Tensor]:
    with np.load(folder / "mlperf_ref" / "kws01_eval.npz") as pack:
        x = torch.from_numpy(pack["x"].astype(np.float32)[:, None] * float(pack["scale"]))
        return x, torch.from_numpy(pack["y"].astype(np.int64))


def visual_wake_words(folder: Path) -> tuple[Tensor, Tensor]:
    return images(*load_vww_pack(folder / "mlperf_ref" / "vww01_eval.npz"), 1 / 255)


def windows(folder: Path) -> tuple[Tensor, Tensor]:
    """Windows of five frames of the only clip, and themselves."""
    with np.load(folder / "mlperf_ref" / "ad01_one_sample.npz") as arrays:
        clip = arrays["x"]
    x = torch.from_numpy(np.stack([clip[i : i + 5].ravel() for i in range(196)]))
    return x, x


Build = Callable[[], nn.Module]
Load = Callable[[Path], tuple[Tensor, Tensor]]

NETWORKS: dict[str, tuple[Build, str, Load]] = {
    "ResNet-8": (resnet8, "resnet8_ic.pt", cifar10),
    "DS-CNN": (DSCNN, "dscnn_kws.pt", keywords),
    "MobileNetV1-0.25": (MobileNetV1, "mobilenetv1_vww.pt", visual_wake_words),
    "autoencoder": (Autoencoder, "fcae_ad.pt", windows),
}
"""Network, file of its weights, data."""


def task_of(name: str, folder: Path, samples: int) -> Task:
    """The network with its reference weights, on a few samples of MLPerf's accuracy set."""
    build, weights, data = NETWORKS[name]
    model = build()
    load_reference(model, folder / "mlperf_ref" / weights)
    x, y = data(folder)
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(x)))
    x, y = x[order], y[order]
    few = ArrayBatches(x[:CALIBRATION], y[:CALIBRATION], batch_size=32)
    end = CALIBRATION + samples
    test = ArrayBatches(x[CALIBRATION:end], y[CALIBRATION:end], batch_size=32)
    classes = y.dim() == 1
    return Task(
        model=model.eval(),
        train=few,
        val=few,
        test=test,
        example_input=x[:2],
        loss=functional.cross_entropy if classes else functional.mse_loss,
        metric=accuracy if classes else lambda o, t: float(functional.mse_loss(o, t)),
        metric_name="accuracy" if classes else "mse",
        metric_mode="max" if classes else "min",
        name=name,
    )


def chromosome(network: Network, kind: str) -> dict[str, float]:
    """Trial parameters of one of `CHROMOSOMES`."""
    bits, ratio = CHROMOSOMES[kind]
    names = [layer.name for layer in network.layers if layer.is_weighted]
    params: dict[str, float] = {f"{n}.w_bits": bits[i % len(bits)] for i, n in enumerate(names)}
    return params | {f"{g.name}.prune": ratio for g in network.groups if g.prunable and ratio}


def rows(name: str, kind: str, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each file."""
    test, metric = metrics["test"], metrics["metric_name"]
    found = []
    for way in WAYS:
        size = sum(n for f, n in metrics["files"].items() if f == way.file)
        if way.file == "c/":
            size = metrics["weights_bytes"]
        runtime = way.runtime
        if way.file == "model_int4.tflite":
            runtime = metrics["tflite_int4_runtime"] or runtime
        found.append(
            {
                "network": name,
                "chromosome": kind,
                "file": way.file,
                "bytes": size,
                "runtime": runtime,
                "mismatches": metrics[way.mismatches],
                "samples": test["samples"],
                "reason": metrics[way.reason],
                metric: test.get(f"{way.score}{metric}"),
                "evaluated": test[metric],
                "opset": metrics["onnx_opset"] if way.file == "model.onnx" else None,
            }
        )
    return found


def main() -> None:
    """Print the table and write all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with cifar10_webp.npz and mlperf_ref/")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--chromosomes", nargs="+", choices=CHROMOSOMES, default=list(CHROMOSOMES))
    parser.add_argument("--samples", type=int, default=130, help="of the test set")
    parser.add_argument("--onnx-integers", choices=("uint8", "int8"), default="uint8")
    parser.add_argument("--out", type=Path, default=Path("ways_out.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    done: list[dict[str, Any]] = []
    print("| network | chromosome | file | bytes | runtime | differ | metric |")
    print("|---|---|---|---|---|---|---|")
    for name in options.networks:
        task = task_of(name, options.data, options.samples)
        network = trace(task)
        for kind in options.chromosomes:
            with tempfile.TemporaryDirectory() as temporary:
                metrics = export_candidate(
                    task,
                    chromosome(network, kind),
                    device=DEVICE,
                    out_dir=Path(temporary) / "out",
                    epochs=0,
                    network=network,
                    onnx_integers=options.onnx_integers,
                )
            for row in rows(name, kind, metrics):
                done.append(row)
                if row["reason"]:
                    print(f"| {name} | {kind} | {row['file']} | none: {row['reason']} | | | |")
                    continue
                score = row[metrics["metric_name"]]
                figure = "" if score is None else f"{score:.4f}"
                print(
                    f"| {name} | {kind} | {row['file']} | {row['bytes']:,} | {row['runtime']} "
                    f"| {row['mismatches']} of {row['samples']} | {figure} |",
                    flush=True,
                )
            options.out.write_text(json.dumps(done, indent=2) + "\n")


if __name__ == "__main__":
    main()
