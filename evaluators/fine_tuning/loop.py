"""Fine-tuning in a trial: float epochs, and what NNI's quantizer calls, with reports between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from evaluators import nni_imports
from evaluators.compression.qat import FakeQuantizer
from evaluators.fine_tuning.distillation import Teacher
from evaluators.fine_tuning.early_stopping import Judge
from evaluators.task import Task
from evaluators.training import annealing, call, length, score, train_epoch
from hardware import Layer


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


@dataclass
class Course:
    """What all parts of one trial's training share.

    Attributes:
        task: With the data, the losses and the learning rate's schedule.
        layers: The unpruned network's, which say where to listen for distillation.
        seed: Everything random is seeded anew with it before each part.
        tell: Takes a score between epochs; None if nobody listens.
        judge: May end the last part early.
        after_step: Called after each step of the optimizer, as masks are that must hold.
        watch: Seconds by stage.
    """

    task: Task
    layers: Sequence[Layer]
    seed: int
    tell: Callable[[float], Any] | None
    judge: Judge
    after_step: list[Callable[[], None]] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def train_float(self, model: nn.Module, epochs: int, removed: float) -> None:
        """Trains a pruned model before it is quantized; a score after each epoch.

        Args:
            model: Trained in place.
            epochs: None is fine.
            removed: Fraction of the channels that it lost since it was last trained.
        """
        if epochs < 1:
            return
        torch.manual_seed(self.seed)
        rate = self.task.fine_tuning_rate(removed)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)

        def after_epoch(_: int) -> bool:
            if self.tell is not None:
                self.tell(self.score(model))
            return False

        self.run(model, optimizer, epochs, after_epoch)
        model.eval()

    def run(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        epochs: int,
        after_epoch: Callable[[int], bool],
    ) -> int:
        """Trains for some epochs; returns how many it were.

        Args:
            model: Trained in place.
            optimizer: Over all that is trained; its rates are the peak of the schedule.
            epochs: At most.
            after_epoch: Called with the number of epochs so far; true ends the training.
        """
        task = self.task
        schedule = annealing(task.rate_schedule, optimizer, epochs * length(task.train))
        teacher = Teacher.of(task, model, self.layers)
        with teacher or nullcontext():
            for epoch in range(1, epochs + 1):
                with self.watch("fine_tune"):
                    train_epoch(
                        model,
                        task.train,
                        task.loss,
                        optimizer,
                        follow=teacher.loss if teacher else None,
                        after_step=[*self.after_step, schedule],
                    )
                if after_epoch(epoch):
                    return epoch
        return epochs

    def score(self, model: nn.Module) -> float:
        """The task's metric on ``val``."""
        with self.watch("evaluate"):
            return score(self.task, model, self.task.val)


class FineTuning:
    """The training function that NNI's quantizer calls.

    Args:
        course: What it shares with other parts of the trial.
        model: The float model, about to be quantized.
        epochs: Of quantization-aware training; 0 only calibrates.
        removed: Fraction of the channels that the model lost since it was last trained.

    Attributes:
        trained: Epochs that were run.
        verdict: Why it ended early, if it did.
    """

    def __init__(self, course: Course, model: nn.Module, epochs: int, removed: float) -> None:
        self.course, self.model, self.epochs = course, model, epochs
        self.learning_rate = course.task.fine_tuning_rate(removed)
        self.quantizer: FakeQuantizer | None = None
        self.trained = 0
        self.verdict: str | None = None

    def evaluator(self) -> Any:
        """An NNI evaluator whose optimizer is built on this very model."""
        nni = nni_imports.import_nni()
        adam = nni.trace(torch.optim.Adam)(self.model.parameters(), lr=self.learning_rate)
        return nni_imports.nni_utils().TorchEvaluator(self.train, adam, self._step)

    def _step(self, batch: Any, model: nn.Module) -> Any:
        return self.course.task.loss(call(model, batch[0]), batch[1])

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
        course = self.course
        # NNI's speedup and its wrappers draw random numbers; the rest must not depend on that.
        torch.manual_seed(course.seed)
        quantizer = self.quantizer
        if quantizer is None:
            raise RuntimeError("the quantizer has to be set before training")
        with course.watch("quantize"):
            quantizer.calibrate(course.task.train)
        if self.epochs == 0:
            return
        self._evaluate(model)
        scales = quantizer.learned_scales()
        if scales:
            optimizer.add_param_group({"params": scales})
        self.trained = course.run(
            model, optimizer, self.epochs, lambda epoch: self._after(epoch, model)
        )
        model.eval()

    def _after(self, epoch: int, model: nn.Module) -> bool:
        # The last score is read from the finished model.
        if epoch == self.epochs:
            return False
        self._evaluate(model)
        return self.verdict is not None

    def _evaluate(self, model: nn.Module) -> None:
        """Only for whoever listens."""
        course = self.course
        if course.tell is None and not course.judge.listens:
            return
        value = course.score(model)
        if course.tell is not None:
            course.tell(value)
        self.verdict = course.judge.verdict(value)

    def probe(self) -> torch.Tensor:
        """Outputs on the example input, to compare the model before and after baking."""
        self.model.eval()
        with torch.no_grad():
            return call(self.model, self.course.task.inputs)  # type: ignore[no-any-return]  # a module's call has no type
