"""A network from quantization to its files, each of which is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from evaluators import Task, evaluate, trace
from evaluators.export import export_model, load, verify
from evaluators.pytree import call, tensors
from evaluators.slicing.plain_modules import make_plain
from hardware.ir.gene_kinds import A_BITS, W_BITS


@dataclass
class Exported:
    """What `export` found.

    Attributes:
        metrics: of `export_model`.
        folder: with the files.
        x: inputs.
    """

    metrics: dict[str, Any]
    folder: Path
    x: Any

    def wanted(self) -> list[np.ndarray]:
        """Outputs of the evaluated network, in order, by `model.pt2`."""
        with torch.no_grad():
            return [t.numpy() for t in tensors(call(load(self.folder), self.x))]

    def outputs(self, *, simulate: bool = True) -> list[np.ndarray]:
        """Of `model.onnx`, in order."""
        got = verify.onnx_runner(self.folder / "model.onnx", simulate=simulate)(self.x)
        return [np.asarray(x) for x in tensors(got)]


def export(model: nn.Module, x: Any, folder: Path, bits: tuple[int, ...] = (8, 4)) -> Exported:
    """Trains for no epoch, quantizes and exports.

    Args:
        model: with random weights.
        x: inputs of 24 samples, as the model takes them.
        folder: an empty one.
        bits: of weights, one layer after the other.
    """
    model = make_plain(model.eval())
    with torch.no_grad():
        target = sum(out.float().reshape(24, -1).sum(1) for out in tensors(call(model, x)))
    first = {k: v[:2] for k, v in x.items()} if isinstance(x, dict) else x[:2]
    batches = [(x, target)]
    task = Task(
        model=model, train=batches, val=batches, test=batches, example_input=first,
        loss=_distance, metric=lambda o, t: float(_distance(o, t)),
        metric_name="mse", metric_mode="min", name=type(model).__name__,
    )  # fmt: skip
    network = trace(task)
    layers = network.gene_layers
    params = {W_BITS.key(name): bits[i % len(bits)] for i, name in enumerate(layers)}
    params |= {A_BITS.key(name): 8 for name in network.carriers(A_BITS)}
    result = evaluate(task, params, device="stm32f746", network=network, epochs=0)
    metrics = export_model(
        result.model, result.calibration, result.layers, first, batches, folder,
        metric=task.metric, calibration_batches=[x], facts={"metric_name": "mse"},
    )  # fmt: skip
    return Exported(metrics, folder, x)


def _distance(outputs: Any, target: torch.Tensor) -> torch.Tensor:
    found = sum(out.float().reshape(len(target), -1).sum(1) for out in tensors(outputs))
    return ((found - target) ** 2).mean()
