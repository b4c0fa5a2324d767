"""One trial: prune, quantize, fine-tune, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.baseline import baseline_metric
from evaluators.compression.decisions import Candidate, read_candidate
from evaluators.compression.pruning import check_model
from evaluators.compression.pruning_schedule import Epochs, coarse_step, cut
from evaluators.compression.qat import FakeQuantizer
from evaluators.compression.quantization import LayerQuantization, strip
from evaluators.fine_tuning.loop import Course, FineTuning, Stopwatch
from evaluators.fine_tuning.warm_start import Inheritance
from evaluators.task import Task
from evaluators.task_checks import check_data
from evaluators.tracing.trace import trace
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
            rounded sit in a ``quantization.QuantizedInput``; batch norms are unfolded.
        calibration: how each layer's weights and input are quantized, by its name; weights are
            ``integer * scale`` exactly.
        layers: As ``hardware`` costs them.
        timings: Seconds by stage.
        notes: What was special about the training: an ancestor, in words.
    """

    metrics: dict[str, float]
    model: nn.Module
    calibration: dict[str, LayerQuantization]
    layers: tuple[Layer, ...]
    timings: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def evaluate(
    task: Task,
    params: Mapping[str, Any],
    *,
    device: Any,
    network: Network | None = None,
    epochs: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    inheritance: Inheritance | None = None,
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
        inheritance: Where checkpoints of earlier trials lie, to start from the nearest; by
            default the task's model is the start.

    Raises:
        ValueError: A chromosome of another model, or unusable bits, ratios, data or metric.
        TraceError: The model can't be traced.
    """
    epochs = task.recipe.epochs if epochs is None else epochs
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
        plan = Epochs.plan(task.recipe.schedule, epochs, candidate)
    with watch("baseline"):
        check_data(task)
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

    course = Course(task, network.layers, seed, tell if report is not None else None, watch=watch)
    notes: list[str] = []
    model, removed = _cut(course, network, params, candidate, plan, inheritance, notes)
    with watch("quantize"):
        run = FineTuning(course, model, plan.bits, removed)
        quantizer = FakeQuantizer(model, candidate.bits, run.evaluator())
    try:
        run.quantizer = quantizer
        quantizer.compress(plan.bits)
        with watch("quantize"):
            before = run.probe()
            trained = quantizer.float_weights()
            model, calibration = quantizer.bake()
            _check_baked(before, run.probe())
    finally:
        quantizer.unwrap()
    if inheritance is not None and plan.bits:
        with watch("inherit"):
            notes += inheritance.keep(
                task, network, params, {**strip(model).state_dict(), **trained}, epochs
            )
    final = tell(course.score(model))
    return Result(final, model, calibration, candidate.layers, watch.seconds, tuple(notes))


def _cut(
    course: Course,
    network: Network,
    params: Mapping[str, Any],
    candidate: Candidate,
    plan: Epochs,
    inheritance: Inheritance | None,
    notes: list[str],
) -> tuple[nn.Module, float]:
    """The float model that is quantized, and how much it lost since its start.

    It comes from the task's model or from an ancestor, in one or two steps.
    """
    task, start, lost = course.task, course.task.model, 0.0
    coarse, fine = plan.coarse, plan.fine
    if inheritance is not None:
        with course.watch("inherit"):
            found = inheritance.start(task, network, params)
        if found is not None:
            # An ancestor is the coarse step.
            start, coarse, fine = found.model, 0, coarse + fine
            lost = read_candidate(network, found.genes).removed
            notes.append(found.note)
    torch.manual_seed(course.seed)
    if coarse:
        half = coarse_step(network, params)
        with course.watch("prune"):
            start = cut(task, network, half, start)
        course.train_float(start, coarse, half.removed)
    with course.watch("prune"):
        model = cut(task, network, candidate, start)
    if course.tell is not None:
        course.tell(course.score(model))
    removed = max(0.0, candidate.removed - lost)
    course.train_float(model, fine, removed)
    # The same rate for the bits: float epochs this few leave a pruned network far from done.
    return model, removed


def _check_baked(before: torch.Tensor, after: torch.Tensor) -> None:
    span = float(before.abs().max()) + 1e-12
    gap = float((before - after).abs().max()) / span
    if not gap <= BAKED_TOLERANCE:
        raise RuntimeError(
            f"the finished model differs from the trained one by {gap:.2g} of its output range"
        )
