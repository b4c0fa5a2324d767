"""One trial: prune, quantize, fine-tune, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
from evaluators.process_state import process_as_found
from evaluators.task import Task
from evaluators.task_checks import check_data
from evaluators.tracing.trace import trace
from hardware import Device, Layer, Network, cost_function, load_device

Report = Callable[[dict[str, float]], None]

BAKED_TOLERANCE = 1e-3
"""Largest difference, relative to the outputs' range, between the trained and the final model."""


@dataclass
class Result:
    """A compressed network and what it is worth.

    Attributes:
        metrics: flat, finite, rounded: ``default``, the task's metric by its name (on ``val``),
            ``baseline_<metric>`` of the float model, and the device's costs.
        model: pruned and quantized, in eval mode, picklable, free of NNI. Layers whose input is
            rounded sit in a ``quantization.QuantizedInput``; batch norms are unfolded.
        calibration: how each layer's weights and input are quantized, by its name; weights are
            ``integer * scale`` exactly.
        layers: as ``hardware`` costs them.
        timings: seconds by stage.
        notes: what was special about the training: an ancestor, in words.
    """

    metrics: dict[str, float]
    model: nn.Module
    calibration: dict[str, LayerQuantization]
    layers: tuple[Layer, ...]
    timings: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@process_as_found(threads=1)
def evaluate(
    task: Task,
    params: Mapping[str, object],
    *,
    device: Device | str | Path,
    network: Network | None = None,
    epochs: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    inheritance: Inheritance | None = None,
) -> Result:
    """Applies a chromosome to a task's model and measures what comes out.

    Args:
        task: its model is left as it is.
        params: genes as in a trial's parameters; missing ones mean nothing pruned, 8 bits.
        device: a profile, the id of a shipped one, or a profile's path.
        network: the model's network if it is known already; traced otherwise.
        epochs: of fine-tuning; the recipe's number if None; 0 is post-training only.
        seed: of everything random.
        report: called with the metrics so far after pruning, after calibration, and after each
            epoch; the last call has the final metrics.
        inheritance: where checkpoints of earlier trials lie, to start from the nearest; by
            default the task's model is the start.

    Raises:
        ValueError: a chromosome of another model, or unusable bits, ratios, data or metric.
        TraceError: the model can't be traced.
    """
    return run_trial(
        task,
        params,
        device=device,
        network=network,
        epochs=epochs,
        seed=seed,
        report=report,
        inheritance=inheritance,
    )


def run_trial(
    task: Task,
    params: Mapping[str, object],
    *,
    device: Device | str | Path,
    network: Network | None = None,
    epochs: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    inheritance: Inheritance | None = None,
) -> Result:
    """What :func:`evaluate` does, in a process that is the caller's to restore."""
    epochs = task.recipe.epochs if epochs is None else epochs
    if epochs < 0:
        raise ValueError(f"epochs={epochs} must not be negative")
    watch = Stopwatch()
    with watch("trace"):
        if network is None:
            network = trace(task)
        else:
            check_model(task.model, network)
        candidate = read_candidate(network, params)
        costs = cost_function(network, load_device(device))(params)
        plan = Epochs.plan(task.recipe.schedule, epochs, candidate)
    with watch("baseline"):
        check_data(task)
        baseline = baseline_metric(task)

    def tell(value: float) -> dict[str, float]:
        metrics = _metrics(task, value, costs, baseline)
        if report is not None:
            report(metrics)
        return metrics

    course = Course(task, network.layers, seed, tell if report is not None else None, watch=watch)
    notes: list[str] = []
    start, removed = _cut(course, network, params, candidate, plan, inheritance, notes)
    model, calibration, trained = _quantize(course, start, removed, candidate, plan)
    if inheritance is not None and plan.bits:
        with watch("inherit"):
            notes += inheritance.keep(
                task, network, params, {**strip(model).state_dict(), **trained}, epochs
            )
    final = tell(course.score(model))
    return Result(final, model, calibration, candidate.layers, watch.seconds, tuple(notes))


def _metrics(
    task: Task, value: float, costs: Mapping[str, float], baseline: float
) -> dict[str, float]:
    """What a trial reports."""
    rounded = round(value, 6)
    return {
        "default": rounded,
        task.metric_name: rounded,
        **costs,
        f"baseline_{task.metric_name}": round(baseline, 6),
    }


def _quantize(
    course: Course, model: nn.Module, removed: float, candidate: Candidate, plan: Epochs
) -> tuple[nn.Module, dict[str, LayerQuantization], dict[str, torch.Tensor]]:
    """The finished model, how its layers are quantized, and the float weights of its training."""
    with course.watch("quantize"):
        run = FineTuning(course, model, plan.bits, removed)
        quantizer = FakeQuantizer(model, candidate.bits, run.evaluator())
    try:
        run.quantizer = quantizer
        quantizer.compress(plan.bits)
        with course.watch("quantize"):
            before = run.probe()
            trained = quantizer.float_weights()
            baked, calibration = quantizer.bake()
            _check_baked(before, run.probe())
    finally:
        quantizer.unwrap()
    return baked, calibration, trained


def _cut(
    course: Course,
    network: Network,
    params: Mapping[str, object],
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
