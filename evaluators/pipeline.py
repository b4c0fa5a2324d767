"""One trial: prune, quantize, fine-tune, measure."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators import lean
from evaluators.cache import cached, fingerprint
from evaluators.candidate import read_candidate
from evaluators.prune import check_model, prune
from evaluators.quantize import FakeQuantizer
from evaluators.task import Task
from evaluators.tracing import trace
from evaluators.training import (
    call,
    channels_last,
    cosine,
    length,
    reestimate_batch_norm,
    score,
    train_epoch,
)
from hardware import Layer, Network, cost_function, load_device

LOG = logging.getLogger(__name__)

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


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + spent, 4)


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
    watch = _Stopwatch()
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
        run = _FineTuning(
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


class _FineTuning:
    """The training function that NNI calls, with what happens between its epochs."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        epochs: int,
        seed: int,
        learning_rate: float,
        watch: _Stopwatch,
        tell: Callable[[float], Any] | None,
    ) -> None:
        self.task, self.model, self.epochs, self.seed = task, model, epochs, seed
        self.learning_rate, self.watch, self.tell = learning_rate, watch, tell
        self.quantizer: FakeQuantizer | None = None

    def evaluator(self) -> Any:
        """An NNI evaluator whose optimizer is built on this very model."""
        nni = lean.import_nni()
        adam = nni.trace(torch.optim.Adam)(self.model.parameters(), lr=self.learning_rate)
        return lean.nni_utils().TorchEvaluator(self.train, adam, self._step)

    def _step(self, batch: Any, model: nn.Module) -> Any:
        return self.task.loss(call(model, batch[0]), batch[1])

    def train(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        training_step: Any,
        lr_schedulers: Any = None,
        max_steps: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        """Calibrates, then trains; the signature is NNI's."""
        # NNI's speedup and its wrappers draw random numbers; the rest must not depend on that.
        torch.manual_seed(self.seed)
        quantizer = self.quantizer
        if quantizer is None:
            raise RuntimeError("the quantizer has to be set before training")
        with self.watch("quantize"):
            quantizer.calibrate(self.task.train)
        if self.epochs == 0:
            return
        self._evaluate(model)
        scales = quantizer.learned_scales()
        if scales:
            optimizer.add_param_group({"params": scales})
        schedule = cosine(optimizer, self.epochs * length(self.task.train))
        teacher = None
        if self.task.distillation:
            teacher = copy.deepcopy(self.task.model).eval()
        for epoch in range(self.epochs):
            with self.watch("fine_tune"):
                train_epoch(
                    model,
                    self.task.train,
                    self.task.loss,
                    optimizer,
                    schedule=schedule,
                    teacher=teacher,
                    distillation=self.task.distillation,
                    distillation_loss=self.task.distillation_loss,
                )
            if epoch + 1 < self.epochs:
                self._evaluate(model)
        model.eval()

    def _evaluate(self, model: nn.Module) -> None:
        """Only for whoever listens: the final figure is read from the finished model."""
        if self.tell is None:
            return
        with self.watch("evaluate"):
            value = score(self.task, model, self.task.val)
        self.tell(value)

    def probe(self) -> torch.Tensor:
        """Outputs on the example input, to compare the model before and after baking."""
        self.model.eval()
        with torch.no_grad():
            return call(self.model, self.task.inputs)  # type: ignore[no-any-return]


def _check_baked(before: torch.Tensor, after: torch.Tensor) -> None:
    span = float(before.abs().max()) + 1e-12
    gap = float((before - after).abs().max()) / span
    if not gap <= BAKED_TOLERANCE:
        raise RuntimeError(
            f"the finished model differs from the trained one by {gap:.2g} of its output range"
        )


def weights_of(model: nn.Module) -> list[bytes]:
    """A model's weights as bytes, to name what was computed from them."""
    return [v.detach().cpu().numpy().tobytes() for v in model.state_dict().values()]


def metric_and_data(task: Task) -> list[Any]:
    """What a metric's value depends on beside the model: the metric's code and the data.

    The first batch stands for all of them: reading every one would cost what the cache saves.
    """
    code = getattr(task.metric, "__code__", None)
    parts: list[Any] = [getattr(task.metric, "__qualname__", type(task.metric).__name__)]
    if code is not None:
        parts += [code.co_code, code.co_names]
    # The same order for a loader that shuffles, and no draw from the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for inputs, targets in itertools.islice(task.val, 1):
            tensors = [*inputs] if isinstance(inputs, (tuple, list)) else [inputs]
            parts += [x.detach().cpu().numpy().tobytes() for x in (*tensors, targets)]
    return [*parts, len(task.val) if isinstance(task.val, Sized) else None]


def baseline_metric(task: Task) -> float:
    """The float model's metric on ``val``: the task's own figure, or measured once and cached."""
    if task.baseline_metric is not None:
        return task.baseline_metric
    parts = (task.metric_name, *metric_and_data(task), *weights_of(task.model))
    name = f"{task.name}-val-{fingerprint(*parts)}.json"

    def load(path: Path) -> float:
        value = float(json.loads(path.read_text(encoding="utf-8"))["value"])
        if not math.isfinite(value):
            raise ValueError("not finite")
        return value

    def save(value: float, path: Path) -> None:
        path.write_text(json.dumps({"value": value}), encoding="utf-8")

    value = cached(name, lambda: score(task, task.model, task.val), load=load, save=save)
    task.baseline_metric = value
    return value
