"""One trial: prune, quantize, fine-tune, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.baseline import baseline_metric
from evaluators.candidate import read_candidate
from evaluators.finetuning import FineTuning, Stopwatch
from evaluators.prune import check_model, prune
from evaluators.quantize import FakeQuantizer
from evaluators.task import Task
from evaluators.tracing import trace
from evaluators.training import channels_last, reestimate_batch_norm, score
from hardware import Layer, Network, cost_function, load_device

Report = Callable[[dict[str, float]], None]

BAKED_TOLERANCE = 1e-3
"""Largest difference, relative to the outputs' range, between the trained and the final model."""


@dataclass
class Result:
    """A compressed network and what it is worth.

    Attributes:
        metrics: Flat, finite, rounded: ``default``, the task's metric by its name (on ``val``),
            ``baseline_<metric>`` of the float model, and the device's costs.
        model: Pruned and quantized, in eval mode, picklable, free of NNI. Layers whose input is
            rounded sit in a ``quantize.QuantizedInput``; batch norms are unfolded.
        calibration: ``{layer: {"weight": {"scale": (C,) tensor, "bits": b}, "input": {"scale":
            s, "zero_point": z, "bits": b}}}``; weights are ``integer * scale`` exactly.
        layers: As ``hardware`` costs them.
        timings: Seconds by stage.
    """

    metrics: dict[str, float]
    model: nn.Module
    calibration: dict[str, dict[str, dict[str, Any]]]
    layers: tuple[Layer, ...]
    timings: dict[str, float] = field(default_factory=dict)


def evaluate(
    task: Task,
    params: Mapping[str, Any],
    *,
    device: Any,
    network: Network | None = None,
    epochs: int | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> Result:
    """Applies a chromosome to a task's model and measures what comes out.

    Args:
        task: Its model is left as it is.
        params: Genes as in a trial's parameters; missing ones mean nothing pruned, 8 bits.
        device: A ``hardware.Device``, the id of a shipped one, or a profile's path.
        network: The model's network if it is known already; traced otherwise.
        epochs: Of fine-tuning; the task's own number if ``None``; 0 is post-training only.
        seed: Of everything random.
        report: Called with the metrics so far after pruning, after calibration, and after each
            epoch; the last call has the final metrics.

    Raises:
        ValueError: A chromosome of another model, or unusable bits, ratios, data or metric.
        TraceError: The model can't be traced.
    """
    epochs = task.epochs if epochs is None else epochs
    if epochs < 0:
        raise ValueError(f"epochs={epochs} must not be negative")
    device = load_device(device) if isinstance(device, (str, Path)) else device
    torch.set_num_threads(1)
    watch = Stopwatch()
    with watch("trace"):
        if network is None:
            network = trace(task)
        else:
            check_model(task.model, network)
        candidate = read_candidate(network, params)
        costs = cost_function(network, device)(params)
    with watch("baseline"):
        baseline = baseline_metric(task)

    def metrics(value: float) -> dict[str, float]:
        rounded = round(value, 6)
        return {
            "default": rounded,
            task.metric_name: rounded,
            **costs,
            f"baseline_{task.metric_name}": round(baseline, 6),
        }

    def tell(value: float) -> dict[str, float]:
        result = metrics(value)
        if report is not None:
            report(result)
        return result

    with watch("prune"):
        torch.manual_seed(seed)
        model = prune(task.model, task.inputs, network, candidate.kept, candidate.layers, task=task)
        model = channels_last(model, task.inputs)
        if candidate.kept:
            reestimate_batch_norm(model, task.train)
    if report is not None:
        with watch("evaluate"):
            value = score(task, model, task.val)
        tell(value)

    with watch("quantize"):
        rate = task.fine_tuning_rate(candidate.removed)
        run = FineTuning(
            task, model, epochs, seed, rate, watch, tell if report is not None else None
        )
        quantizer = FakeQuantizer(model, candidate.bits, run.evaluator())
    try:
        run.quantizer = quantizer
        quantizer.compress(epochs)
        with watch("quantize"):
            before = run.probe()
            model, calibration = quantizer.bake()
            _check_baked(before, run.probe())
    finally:
        quantizer.unwrap()
    with watch("evaluate"):
        value = score(task, model, task.val)
    return Result(tell(value), model, calibration, candidate.layers, watch.seconds)


def _check_baked(before: torch.Tensor, after: torch.Tensor) -> None:
    span = float(before.abs().max()) + 1e-12
    gap = float((before - after).abs().max()) / span
    if not gap <= BAKED_TOLERANCE:
        raise RuntimeError(
            f"the finished model differs from the trained one by {gap:.2g} of its output range"
        )
