"""Fine-tuning in a trial: float epochs, and what NNI's quantizer calls, with reports between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from evaluators import nni_imports
from evaluators.accelerator import task_on
from evaluators.compression.qat import FakeQuantizer
from evaluators.fine_tuning.averaging import WeightAverage
from evaluators.fine_tuning.distillation import Teacher
from evaluators.process_state import random_states_as_found
from evaluators.pytree import call, tensors
from evaluators.task import Task
from evaluators.training import annealing, length, reestimate_batch_norm, score, train_epoch
from hardware import Layer

REPORT_BATCHES = 8
"""Batches that give a score between epochs its statistics: a small data set has few more."""


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
        task: with the data, the losses and the learning rate's schedule.
        layers: the unpruned network's, which say where to listen for distillation.
        seed: everything random is seeded anew with it before each part.
        tell: takes a score between epochs; None if nobody listens.
        after_step: called after each step of the optimizer, as masks are that must hold.
        watch: seconds by stage.
    """

    task: Task
    layers: Sequence[Layer]
    seed: int
    tell: Callable[[float], object] | None
    after_step: list[Callable[[], None]] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def on(self, device: torch.device) -> Course:
        """The same course for a model on a device; what is told and timed stays shared."""
        return replace(self, task=task_on(self.task, device))

    def train_float(self, model: nn.Module, epochs: int, removed: float) -> None:
        """Trains a pruned model before it is quantized; a score after each epoch.

        Args:
            model: trained in place.
            epochs: none is fine.
            removed: fraction of the channels that it lost since it was last trained.
        """
        if epochs < 1:
            return
        torch.manual_seed(self.seed)
        rate = self.task.recipe.rate_after(removed)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        self.run(model, optimizer, epochs, lambda _: self.report(model))
        model.eval()

    def run(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        epochs: int,
        after_epoch: Callable[[int], None],
    ) -> None:
        """Trains for some epochs.

        Args:
            model: trained in place.
            optimizer: over all that is trained; its rates are the peak of the schedule.
            epochs: their number.
            after_epoch: called with the number of epochs so far.
        """
        task = self.task
        steps = epochs * length(task.train)
        schedule = annealing(task.recipe.rate_schedule, optimizer, steps)
        average = WeightAverage(optimizer, steps)
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
                        after_step=[*self.after_step, schedule, average],
                    )
                if epoch == epochs:
                    self.end(model, average)
                elif self.tell is not None:
                    # The same training, whether anybody listens or not.
                    with self.watch("evaluate"), random_states_as_found():
                        reestimate_batch_norm(model, task.train, REPORT_BATCHES)
                after_epoch(epoch)

    def end(self, model: nn.Module, average: WeightAverage) -> None:
        """Gives a trained model its average, and its batch norms the statistics of just that.

        Statistics that ran along are of weights that are no more: few bits that flipped in the
        last steps leave them several points of accuracy off.
        """
        with self.watch("fine_tune"):
            average.apply()
            for act in self.after_step:
                act()
            reestimate_batch_norm(model, self.task.train)

    def report(self, model: nn.Module) -> None:
        """Tells the score between epochs; nothing is computed if nobody listens."""
        if self.tell is not None:
            self.tell(self.score(model))

    def score(self, model: nn.Module) -> float:
        """The task's metric on ``val``."""
        with self.watch("evaluate"):
            return score(self.task, model, self.task.val)


class FineTuning:
    """The training function that NNI's quantizer calls.

    Args:
        course: what it shares with other parts of the trial.
        model: the float model, about to be quantized.
        epochs: of quantization-aware training; 0 only calibrates.
        removed: fraction of the channels that the model lost since it was last trained.

    Attributes:
        settle: what is done once the quantizer is calibrated, in place of the first report.
    """

    def __init__(self, course: Course, model: nn.Module, epochs: int, removed: float) -> None:
        self.course, self.model, self.epochs = course, model, epochs
        self.learning_rate = course.task.recipe.rate_after(removed)
        self.quantizer: FakeQuantizer | None = None
        self.settle: Callable[[nn.Module, FakeQuantizer], None] | None = None

    def evaluator(self) -> object:
        """An NNI evaluator whose optimizer is built on this very model."""
        nni = nni_imports.import_nni()
        adam = nni.trace(torch.optim.Adam)(self.model.parameters(), lr=self.learning_rate)
        return nni_imports.nni_utils().TorchEvaluator(self.train, adam, self._step)

    def _step(self, batch: tuple[object, object], model: nn.Module) -> torch.Tensor:
        return self.course.task.loss(call(model, batch[0]), batch[1])

    def train(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        training_step: Callable[[object, nn.Module], torch.Tensor],
        lr_schedulers: object = None,
        max_steps: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        """Calibrates, then trains; the signature is NNI's."""
        course = self.course
        # NNI's wrappers draw random numbers; the rest must not depend on that.
        torch.manual_seed(course.seed)
        quantizer = self.quantizer
        if quantizer is None:
            raise RuntimeError("the quantizer has to be set before training")
        with course.watch("quantize"):
            quantizer.calibrate(course.task.train)
        if self.settle is not None:
            self.settle(model, quantizer)
        if self.epochs == 0:
            return
        if self.settle is None:
            course.report(model)
        scales = quantizer.learned_scales()
        if scales:
            optimizer.add_param_group({"params": scales})

        def after_epoch(epoch: int) -> None:
            # The last score is read from the finished model.
            if epoch < self.epochs:
                course.report(model)

        course.run(model, optimizer, self.epochs, after_epoch)
        model.eval()

    def probe(self) -> list[torch.Tensor]:
        """Outputs on the example input, to compare the model before and after baking."""
        self.model.eval()
        with torch.no_grad():
            return tensors(call(self.model, self.course.task.example_input))
