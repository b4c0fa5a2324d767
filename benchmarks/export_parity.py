"""Do exported files predict what the evaluated network predicts? Digits, KWS, ResNet-8.

    python -m benchmarks.export_parity --data ../shared/data --out export_parity.json

Every row exports one chromosome, runs ONNX Runtime and the integer reference on the whole test
split, and the C code on an emulated Cortex-M4 on the first samples of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluators import load_task, trace
from evaluators.export import emulate, export_candidate
from evaluators.export.verify import onnx_runner
from hardware import Network

DEVICE = "stm32l4r5"
TASKS: dict[str, dict[str, Any]] = {
    "digits": {"path": "evaluators.tasks.digits:build", "file": None, "epochs": 4, "emulate": 360},
    "kws": {
        "path": "evaluators.tasks.kws:build",
        "file": "kws_arabic.npz",
        "epochs": 1,
        "emulate": 40,
    },
    "resnet8": {
        "path": "evaluators.tasks.cifar10:build?weights=reference&train_samples=2000",
        "file": "cifar10_webp.npz",
        "epochs": 1,
        "emulate": 4,
    },
}
CHROMOSOMES: dict[str, tuple[Callable[[int], int], Callable[[int], int], float]] = {
    "w8a8": (lambda i: 8, lambda i: 8, 0.0),
    "w8a8, 25 % pruned": (lambda i: 8, lambda i: 8, 0.25),
    "w4/w8 a8, 25 % pruned": (lambda i: (8, 4)[i % 2], lambda i: 8, 0.25),
    "w2/w4/w8 a4/a8": (lambda i: (8, 4, 2)[i % 3], lambda i: (8, 4)[i % 2], 0.0),
}


def chromosome(network: Network, kind: str) -> dict[str, float]:
    """Trial parameters of one of `CHROMOSOMES`."""
    weights, inputs, ratio = CHROMOSOMES[kind]
    params: dict[str, float] = {}
    names = [layer.name for layer in network.layers if layer.is_weighted]
    for i, name in enumerate(names):
        params[f"{name}.w_bits"], params[f"{name}.a_bits"] = weights(i), inputs(i)
    return params | {f"{g.name}.prune": ratio for g in network.groups if g.prunable}


def on_cortex_m(folder: Path, x: np.ndarray) -> dict[str, int]:
    """Predictions of the emulated C that differ from those of `model.onnx`."""
    got = emulate.outputs(folder / "c", x)
    want = onnx_runner(folder / "model.onnx")((x,))
    return {"samples": len(x), "mismatches": int((got.argmax(1) != want.argmax(1)).sum())}


def main() -> None:
    """Print one line per export and write all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--chromosomes", nargs="+", choices=CHROMOSOMES, default=list(CHROMOSOMES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--onnx-integers", choices=("uint8", "int8"), default="uint8")
    parser.add_argument("--out", type=Path, default=Path("export_parity.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in options.tasks:
        spec = TASKS[name]
        task = load_task(spec["path"], spec["file"] and str(options.data / spec["file"]))
        network = trace(task)
        for kind in options.chromosomes:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "candidate"
                m = export_candidate(
                    task,
                    chromosome(network, kind),
                    device=DEVICE,
                    out_dir=folder,
                    epochs=spec["epochs"],
                    seed=options.seed,
                    network=network,
                    onnx_integers=options.onnx_integers,
                )
                x = np.concatenate([np.asarray(x) for x, _ in task.test])[: spec["emulate"]]
                emulated = None if emulate.missing_tools() else on_cortex_m(folder, x)
            keys = (
                "onnx_mismatches",
                "onnx_mismatches_default_options",
                "integer_mismatches",
                "tflite_mismatches",
                "tflite_int4_mismatches",
                "onnx_opset",
                "integer_ram_bytes",
                "weights_bytes",
            )
            row = {"task": name, "chromosome": kind, "seed": options.seed, "test": m["test"]}
            row |= {k: m[k] for k in keys}
            row |= {"size_kb": m["size_kb"], "ram_kb": m["val"]["ram_kb"], "cortex_m4": emulated}
            rows.append(row)
            print(json.dumps(row), flush=True)
            options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
