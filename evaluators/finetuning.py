"""Quantization-aware fine-tuning: what NNI's quantizer calls, with reports between the epochs."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from evaluators import lean
from evaluators.quantize import FakeQuantizer
from evaluators.task import Task
from evaluators.training import call, cosine, length, score, train_epoch


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Adds what the block takes to a stage's seconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + spent, 4)


class FineTuning:
    """The training function that NNI calls, with what happens between its epochs."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        epochs: int,
        seed: int,
        learning_rate: float,
        watch: Stopwatch,
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
