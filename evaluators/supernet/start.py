"""A trial's start from a supernet: its units, its scales, and the score before any training."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from evaluators.compression.decisions import Candidate
from evaluators.compression.pruning_schedule import cut
from evaluators.compression.qat import FakeQuantizer
from evaluators.fidelity import FloatOutputs
from evaluators.fine_tuning.loop import Course
from evaluators.process_state import eval_mode
from evaluators.pytree import call
from evaluators.supernet.targets import SHARE, is_classification
from evaluators.supernet.weights import Supernet
from evaluators.task import Task, no_loss
from evaluators.task_checks import first_batch
from evaluators.training import reestimate_batch_norm
from hardware import Network

LONG_EPOCHS = 9
"""Trainings of so many epochs have time to come back from a high learning rate.

The fewest that it was measured with: an export of trials of three epochs.
"""


def following(task: Task, epochs: int) -> Task:
    """The task with a fine-tuning that goes on as the supernet was trained.

    Where the recipe has no distillation, a classifier follows the float model's soft labels: few
    epochs of labels alone lose what the weights learned from them. A long training has the learning
    rate of pruned networks, since what is inherited from many networks is far from what one can do;
    a short one would only lose by it.

    Args:
        task: left as it is.
        epochs: of the fine-tuning.
    """
    recipe = task.recipe
    if epochs >= LONG_EPOCHS:
        recipe = replace(recipe, learning_rate=recipe.rate_after(1.0))
    if not recipe.distillation and _has_class_scores(task):
        recipe = replace(recipe, distillation=SHARE)
    changed = copy.copy(task)
    changed.recipe = recipe
    return changed


def _has_class_scores(task: Task) -> bool:
    if isinstance(task.train, FloatOutputs) or task.loss is no_loss:
        return False
    with torch.random.fork_rng(devices=[]), eval_mode(task.model), torch.no_grad():
        inputs, targets = first_batch(task.train, "train")
        outputs = call(task.model, inputs)
    return is_classification(outputs, targets)


class Inherited:
    """What one trial takes from a supernet.

    Args:
        supernet: checked for the trial's task and chromosome.
        course: of the trial.
        network: of the whole model.
        candidate: the chromosome, with the supernet's order as its pruner.

    Attributes:
        score: the task's metric on ``val`` before any training; NaN until it is known.
    """

    score = float("nan")

    def __init__(
        self, supernet: Supernet, course: Course, network: Network, candidate: Candidate
    ) -> None:
        self.supernet, self.course = supernet, course
        self.network, self.candidate = network, candidate

    @property
    def note(self) -> str:
        """Where the trial started, for its log."""
        name = self.course.task.metric_name
        return f"started from {self.supernet.path} with {name} {self.score:.6g}"

    def start(self) -> nn.Module:
        """The float network: NNI's pruner takes the last units of the supernet's order."""
        course = self.course
        torch.manual_seed(course.seed)
        with course.watch("prune"):
            whole = self.supernet.model(course.task)
            return cut(course.task, self.network, self.candidate, whole)

    def scale(self, quantizer: FakeQuantizer) -> None:
        """Gives NNI's quantizers the supernet's scales."""
        self.supernet.hand_over(self.course.task, self.network, self.candidate, quantizer)

    def settle(self, model: nn.Module, quantizer: FakeQuantizer) -> None:
        """Estimates the statistics of the rounded network and reports the inherited score."""
        course = self.course
        with course.watch("quantize"):
            reestimate_batch_norm(model, course.task.train)
            # The norms scale what the layers behind them get.
            quantizer.calibrate(course.task.train)
        self.score = course.score(model)
        if course.tell is not None:
            course.tell(self.score)
