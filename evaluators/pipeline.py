"""One trial: prune, quantize, fine-tune, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from evaluators.accelerator import CPU
from evaluators.baseline import baseline_metric
from evaluators.compression.decisions import Candidate, read_candidate
from evaluators.compression.pruning import check_model
from evaluators.compression.pruning_schedule import Epochs, coarse_step, cut
from evaluators.compression.qat import FakeQuantizer
from evaluators.compression.quantization import LayerQuantization
from evaluators.compression.unit_scores import SUPERNET_ORDER
from evaluators.fine_tuning.loop import Course, FineTuning, Stopwatch
from evaluators.process_state import process_as_found
from evaluators.scoring import DataError
from evaluators.supernet.start import Inherited, following
from evaluators.supernet.weights import Supernet
from evaluators.task import Task, no_loss
from evaluators.task_checks import check_data
from evaluators.tracing.trace import trace
from hardware import Device, Layer, Network, cost_function, load_device
from hardware.ir.gene_kinds.pruner import PRUNERS_WITHOUT_DATA
from hardware.ir.restrictions import check_allowed

Report = Callable[[dict[str, float]], None]

BAKED_TOLERANCE = 1e-3
"""Largest difference, relative to the outputs' range, between the trained and the final model."""


@dataclass
class Result:
    """A compressed network and what it is worth.

    Attributes:
        metrics: flat, finite, rounded: ``default``, the task's metric by its name (on ``val``),
            ``baseline_<metric>`` of the float model, ``inherited_<metric>`` if it started from a
            supernet, and the device's costs.
        model: pruned and quantized, in eval mode, picklable, free of NNI. Layers whose input is
            rounded sit in a ``quantization.QuantizedInput``; batch norms are unfolded.
        calibration: how each layer's weights and input are quantized, by its name; weights are
            ``integer * scale`` exactly.
        layers: as ``hardware`` costs them.
        timings: seconds by stage.
        notes: what was special about the training: where it started, in words.
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
    supernet: Supernet | None = None,
    accelerator: str = "cpu",
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
        supernet: what the trial starts from instead of the task's model: the first report is then
            the inherited score, and all epochs train the quantized network.
        accelerator: torch's device for the quantized network; what comes back is on the CPU.

    Raises:
        ValueError: a chromosome or a supernet of another model, or unusable bits, ratios, data or
            metric.
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
        supernet=supernet,
        accelerator=accelerator,
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
    supernet: Supernet | None = None,
    accelerator: str = "cpu",
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
        check_allowed(network, params)
        candidate = read_candidate(network, params)
        costs = cost_function(network, load_device(device))(params)
        plan = Epochs.plan(task.recipe.schedule, epochs, candidate)
        if supernet is not None:
            supernet.check(task, network, params)
            # Its weights know their bits: there is no float network to train first.
            candidate, plan = replace(candidate, pruner=SUPERNET_ORDER), Epochs(0, 0, epochs)
    with watch("baseline"):
        _check_trainable(task, candidate, epochs)
        check_data(task)
        baseline = baseline_metric(task)
    inherited: Inherited | None = None

    def tell(value: float) -> dict[str, float]:
        metrics = _metrics(task, value, costs, baseline)
        if inherited is not None:
            metrics[f"inherited_{task.metric_name}"] = round(inherited.score, 6)
        if report is not None:
            report(metrics)
        return metrics

    tuned = task if supernet is None else following(task, epochs)
    course = Course(tuned, network.layers, seed, tell if report is not None else None, watch=watch)
    if supernet is None:
        # The same rate for the bits: float epochs this few leave a pruned network far from done.
        start, removed = _cut(course, network, params, candidate, plan), candidate.removed
    else:
        inherited = Inherited(supernet, course, network, candidate)
        start, removed = inherited.start(), 0.0
    there = torch.device(accelerator)
    course, start = course.on(there), start.to(there)
    model, calibration = _quantize(course, start, removed, candidate, plan, inherited)
    final = tell(course.score(model))
    model.to(CPU)
    notes = () if inherited is None else (inherited.note,)
    return Result(final, model, calibration, candidate.layers, watch.seconds, notes)


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
    course: Course,
    model: nn.Module,
    removed: float,
    candidate: Candidate,
    plan: Epochs,
    inherited: Inherited | None,
) -> tuple[nn.Module, dict[str, LayerQuantization]]:
    """The finished model, and how its layers are quantized."""
    with course.watch("quantize"):
        run = FineTuning(course, model, plan.bits, removed)
        quantizer = FakeQuantizer(model, candidate.bits, run.evaluator())
        if inherited is not None:
            inherited.scale(quantizer)
            inherited.course = course
            run.settle = inherited.settle
    try:
        run.quantizer = quantizer
        quantizer.compress(plan.bits)
        with course.watch("quantize"):
            before = run.probe()
            baked, calibration = quantizer.bake()
            _check_baked(before, run.probe())
    finally:
        quantizer.unwrap()
    return baked, calibration


def _cut(
    course: Course,
    network: Network,
    params: Mapping[str, object],
    candidate: Candidate,
    plan: Epochs,
) -> nn.Module:
    """The float model that is quantized, cut from the task's model in one or two steps."""
    task, start = course.task, course.task.model
    torch.manual_seed(course.seed)
    if plan.coarse:
        half = coarse_step(network, params)
        with course.watch("prune"):
            start = cut(task, network, half, start)
        course.train_float(start, plan.coarse, half.removed)
    with course.watch("prune"):
        model = cut(task, network, candidate, start)
    if course.tell is not None:
        course.tell(course.score(model))
    course.train_float(model, plan.fine, candidate.removed)
    return model


def _check_baked(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> None:
    for one, other in zip(before, after, strict=True):
        if not one.is_floating_point():
            continue
        span = float(one.abs().max()) + 1e-12
        gap = float((one - other).abs().max()) / span
        if not gap <= BAKED_TOLERANCE:
            raise RuntimeError(
                f"the finished model differs from the trained one by {gap:.2g} of its output range"
            )


def _check_trainable(task: Task, candidate: Candidate, epochs: int) -> None:
    """Refuses a trial that needs a loss of a task that has none, before anything is spent."""
    pruner = candidate.pruner or task.recipe.pruner
    learns = candidate.kept and pruner not in PRUNERS_WITHOUT_DATA
    if task.loss is no_loss and (epochs or learns):
        what = f"fine-tuning for {epochs} epochs" if epochs else f"the pruner {pruner!r}"
        raise DataError(
            f"the task has no loss, and {what} needs one: give the task loss=..., or let it "
            f"calibrate only (epochs=0, pruner one of {', '.join(PRUNERS_WITHOUT_DATA)})"
        )
