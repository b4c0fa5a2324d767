"""What a supernet will cost, told from one step that was measured."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.accelerator import moved
from evaluators.process_state import process_as_found
from evaluators.supernet.choices import Choices
from evaluators.supernet.training import WIDTHS, Run, Settings, check_trainable
from evaluators.task import Task
from evaluators.task_checks import first_batch
from evaluators.training import length
from hardware import Network


@dataclass(frozen=True)
class Forecast:
    """The costs of a supernet.

    Attributes:
        seconds: of its training, on this machine as busy as it is now.
        kb: of its file, in KB of 1,024 bytes.
    """

    seconds: float
    kb: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        spent = f"{self.seconds:.0f} s" if minutes < 3 else f"{minutes:.0f} minutes"
        return f"about {spent} of training, once, and a file of {self.kb:,.0f} KB"


@process_as_found(threads=1)
def forecast(
    task: Task,
    network: Network,
    space: Mapping[str, Sequence[object]],
    settings: Settings | None = None,
    accelerator: str = "cpu",
) -> Forecast:
    """Trains for two steps, and times the second; the first makes what later steps find made.

    Args:
        task: left as it is.
        network: of its model.
        space: values by gene.
        settings: of the training.
        accelerator: torch's device.

    Raises:
        ValueError: whatever ``train_supernet`` would refuse.
    """
    settings = settings or Settings()
    check_trainable(task, network, space, settings)
    run = Run(task, network, Choices.of(space), settings, accelerator)
    run.widths = run.widths[:1]
    inputs, targets = first_batch(task.train, "train")
    inputs, targets = moved(inputs, run.device), moved(targets, run.device)
    spent = []
    for _ in range(2):
        start = time.perf_counter()
        run.step(inputs, targets, random.Random(0))
        spent.append(time.perf_counter() - start)
    # The first step made the slices of the largest, the smallest and one random setting of widths.
    slice_s = max(0.0, spent[0] - spent[1]) / 3
    steps = settings.epochs * length(task.train)
    space_of = {gene: list(values) for gene, values in space.items()}
    size = len(run.supernet(space_of, {}, {}).packed())
    return Forecast(steps * spent[1] + WIDTHS * slice_s, size / 1024)
