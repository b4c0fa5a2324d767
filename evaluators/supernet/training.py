"""Trains a supernet: one set of weights that serves all widths and bits of a search space.

Each step trains the largest network, the smallest and some random ones (the sandwich rule of Yu
and Huang, arXiv:1903.05134), all of them to answer as the float model does. Each bit-width of a
weight has scales of its own, learned up to 4 bits (Shen et al., arXiv:2010.04354), so that few
bits do not pull at the grid of many. Batch norms see their own batch only: the statistics of a
network are estimated when it is looked at.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluators.accelerator import accelerator_here as accelerator_here
from evaluators.accelerator import moved as moved
from evaluators.compression.decisions import Bits, read_candidate
from evaluators.compression.pruning import check_model, plan_of
from evaluators.compression.pruning_schedule import calm_dropout
from evaluators.process_state import eval_mode, process_as_found
from evaluators.pytree import call
from evaluators.scoring import DataError
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.weight_norms import copied
from evaluators.supernet.choices import Choices, Params
from evaluators.supernet.slices import (
    LEAST_LEVEL,
    Slice,
    SlicePool,
    Weight,
    first_levels,
    level_key,
    rounded_parameters,
)
from evaluators.supernet.targets import FollowingLoss, check_loss, supernet_loss
from evaluators.supernet.unit_order import sort_units
from evaluators.supernet.weights import (
    DamagedError,
    Facts,
    Space,
    State,
    Supernet,
    identity,
    module_names,
    removed_units,
)
from evaluators.task import Task
from evaluators.task_checks import check_data, first_batch
from evaluators.training import annealing, channels_last, length
from hardware import Network
from hardware.ir.gene_kinds import W_BITS

MEGABYTE = 2**20
_CHECKPOINT_S = 5.0
"""An epoch of a small task is not worth a write of its own."""
WIDTHS = 32
"""Random settings of widths in one training; each meets all bits."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a supernet is trained.

    Attributes:
        epochs: passes over the training data.
        seed: of all that is random.
        networks: trained in each step: the largest, the smallest and random ones.
        learning_rate: peak of AdamW's; None: the recipe's for pruned networks.
        memory_mb: that the index sets of smaller networks may take, in MB of 2**20 bytes.
        file_mb: that the file may take.
    """

    epochs: int = 60
    seed: int = 0
    networks: int = 4
    learning_rate: float | None = None
    memory_mb: float = 256.0
    file_mb: float = 512.0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs={self.epochs} must be at least 1")
        if self.networks < 2:
            raise ValueError(f"networks={self.networks} must be at least 2: largest and smallest")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} must be above 0")
        for name in ("memory_mb", "file_mb"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")


@dataclass(frozen=True)
class Progress:
    """After an epoch: how many of how many, the mean loss, and the seconds since the start."""

    epoch: int
    epochs: int
    loss: float
    seconds: float


@process_as_found(threads=1)
def train_supernet(
    task: Task,
    network: Network,
    space: Mapping[str, Sequence[object]],
    settings: Settings | None = None,
    *,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
    accelerator: str = "cpu",
) -> Supernet:
    """Trains one set of weights for all networks of a space.

    The same seed gives the same weights, bit for bit on a CPU, also when the training was stopped
    and went on from its checkpoint.

    Args:
        task: its model is left as it is.
        network: of that model.
        space: values by gene.
        settings: how; all defaults if None.
        checkpoint: file to go on from, and written between epochs. The caller removes it.
        report: called after each epoch.
        say: told what is special, a line at a time.
        accelerator: torch's device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ValueError: another model, a space that can't be trained, or a file above the limit.
        DataError: the data, the loss or what is to be followed can't be used.
    """
    settings = settings or Settings()
    check_model(task.model, network)
    check_data(task)
    run = Run(task, network, Choices.of(space), settings, accelerator)
    facts: Facts = {
        "task": task.name, **identity(task), "networks": settings.networks,
        "epochs": settings.epochs, "seed": settings.seed, "learning_rate": run.learning_rate,
    }  # fmt: skip
    plain: Space = {gene: list(values) for gene, values in space.items()}
    _check_size([*run.model.state_dict().values(), *run.levels.values()], settings.file_mb)
    if run.kept_order:
        say(f"groups that keep their own order: {', '.join(run.kept_order)}")
    if run.choices.others:
        say(
            f"not trained for, trials apply them to what they inherit: "
            f"{', '.join(run.choices.others)}"
        )
    done = _resume(run, checkpoint, plain, facts, say) if checkpoint else 0
    start = written = time.monotonic()
    for epoch in range(done + 1, settings.epochs + 1):
        loss = run.epoch(epoch)
        if report is not None:
            report(Progress(epoch, settings.epochs, loss, time.monotonic() - start))
        late = time.monotonic() - written >= _CHECKPOINT_S
        if checkpoint is not None and late and epoch < settings.epochs:
            run.supernet(plain, facts, run.progress(epoch)).save(checkpoint)
            written = time.monotonic()
    return run.supernet(plain, facts, {})


def check_trainable(
    task: Task, network: Network, space: Mapping[str, Sequence[object]], settings: Settings
) -> None:
    """Says at the cost of a batch what :func:`train_supernet` would refuse.

    Raises:
        ValueError: another model, a space that can't be trained, or a file above the limit.
        DataError: the data, the loss or what is to be followed can't be used.
    """
    check_model(task.model, network)
    check_data(task)
    Choices.of(space)
    _check_size([*task.model.state_dict().values()], settings.file_mb)
    with eval_mode(task.model):
        _following_loss(task, task.model, torch.device("cpu"))


def _following_loss(task: Task, teacher: nn.Module, device: torch.device) -> FollowingLoss:
    """The loss of each network, tried on the float model's own outputs for one batch.

    Raises:
        DataError: it fails, or is no finite scalar.
    """
    inputs, targets = first_batch(task.train, "train")
    inputs, targets = moved(inputs, device), moved(targets, device)
    with torch.no_grad():
        outputs = call(teacher, inputs)
        loss = supernet_loss(task, outputs, targets)
        check_loss(loss, outputs, targets)
    return loss


def _check_size(tensors: Sequence[Tensor], limit_mb: float) -> None:
    size = sum(t.numel() * t.element_size() for t in tensors) / MEGABYTE
    if size > limit_mb:
        raise ValueError(
            f"the supernet's file would take {size:.0f} MB, above the limit of {limit_mb:g} "
            "(file_mb): raise it if that is meant"
        )


def _resume(
    run: Run,
    checkpoint: Path,
    space: Space,
    facts: Facts,
    say: Callable[[str], None],
) -> int:
    """Takes up a checkpoint of the very same training; returns its epochs."""
    try:
        found = Supernet.load(checkpoint)
    except FileNotFoundError:
        return 0
    except DamagedError as error:
        say(f"{error}; the training begins anew")
        return 0
    if found.facts != facts or found.space != space or not found.progress:
        say(f"{checkpoint} is of another training; this one begins anew")
        return 0
    done = run.take_up(found)
    say(f"going on after epoch {done} from {checkpoint}")
    return done


class Run:
    """A training in progress.

    Args:
        task: its model is left as it is.
        network: of that model.
        choices: of the search space.
        settings: how it is trained.
        accelerator: torch's device.
    """

    def __init__(
        self,
        task: Task,
        network: Network,
        choices: Choices,
        settings: Settings,
        accelerator: str,
    ) -> None:
        self.task, self.network, self.choices, self.settings = task, network, choices, settings
        self.device = torch.device(accelerator)
        recipe = task.recipe
        self.learning_rate = (
            settings.learning_rate or recipe.pruned_learning_rate or recipe.learning_rate
        )
        self.model = make_plain(copied(task.model)).eval()
        self.plan = plan_of(task.model, task.inputs, network, task)
        self.kept_order = sort_units(self.model, self.plan.groups, task.example_input)
        self.channels_last = _trains_channels_last(self.model, task.example_input)
        self.model.to(self.device)
        self.teacher = copied(task.model).eval().to(self.device)
        weights = rounded_parameters(self.model, module_names(network))
        self.state = {name: p.requires_grad_() for name, p in self.model.named_parameters()}
        self.levels = self._first_levels(weights)
        self.pool = SlicePool(self.model, self.plan, weights, int(settings.memory_mb * MEGABYTE))
        rng = random.Random(settings.seed)
        self.widths = [choices.widths(rng) for _ in range(WIDTHS)]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(self.state.values()), "weight_decay": 1e-2},
                {"params": list(self.levels.values()), "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
        )
        steps = settings.epochs * length(task.train)
        warmup = min(steps // 10, 100)
        self.schedule = annealing("cosine", self.optimizer, steps, warmup=warmup)
        self.steps = 0
        self.loss = _following_loss(task, self.teacher, self.device)

    def _first_levels(self, weights: Mapping[str, Sequence[Weight]]) -> dict[str, Tensor]:
        owners = {layer.module: name for name in self.network.gene_layers
                  for layer in (self.network.layer(name),)}  # fmt: skip
        found = {}
        for module, parts in weights.items():
            widths = self.choices.options.get(W_BITS.key(owners[module]), (8.0,))
            for weight in parts:
                values = self.state[weight.name]
                for bits, level in first_levels(
                    values, weight.axis, list(map(int, widths))
                ).items():
                    found[level_key(weight.name, bits)] = level.requires_grad_()
        return found

    def epoch(self, number: int) -> float:
        """One pass over the data; returns the mean loss of its networks."""
        seed = self.settings.seed * 1_000_003 + number
        torch.manual_seed(seed)
        rng = random.Random(seed)
        total, count = 0.0, 0
        for inputs, targets in self.task.train:
            total += self.step(moved(inputs, self.device), moved(targets, self.device), rng)
            count += 1
        if not count:
            raise DataError("the task's 'train' split yields no batch: check its loader")
        return total / count

    def step(self, inputs: object, targets: object, rng: random.Random) -> float:
        """Trains all networks of one batch; returns their mean loss."""
        with torch.no_grad():
            soft = call(self.teacher, inputs)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for params in self._networks(rng):
            part, bits = self.slice_of(params)
            part.shell.train()
            outputs = part.run(self.state, self.levels, bits, inputs, self.channels_last)
            loss = self.loss(outputs, targets, soft) / self.settings.networks
            number = float(loss.detach())
            if not math.isfinite(number):
                raise DataError(
                    f"the supernet's training loss became {number}: lower its learning rate"
                )
            torch.autograd.backward(loss)
            total += number
        self.optimizer.step()
        with torch.no_grad():
            for level in self.levels.values():
                level.clamp_(min=LEAST_LEVEL)
        self.schedule()
        self.steps += 1
        return total

    def _networks(self, rng: random.Random) -> Iterator[Params]:
        yield self.choices.largest()
        yield self.choices.smallest()
        for _ in range(self.settings.networks - 2):
            yield {**rng.choice(self.widths), **self.choices.bits(rng)}

    def slice_of(self, params: Params) -> tuple[Slice, Mapping[str, Bits]]:
        """The network of a chromosome."""
        candidate = read_candidate(self.network, params)
        part = self.pool.get(removed_units(self.network, self.plan, candidate.kept))
        calm_dropout(part.shell, self.model, candidate.removed)
        return part, candidate.bits

    def supernet(self, space: Space, facts: Facts, progress: State) -> Supernet:
        """What there is so far."""
        return Supernet(
            {name: t.detach().cpu().clone() for name, t in self.model.state_dict().items()},
            {name: t.detach().cpu().clone() for name, t in self.levels.items()},
            space,
            facts,
            progress=progress,
        )

    def progress(self, epoch: int) -> State:
        """What going on takes beside the weights."""
        return {"epoch": epoch, "steps": self.steps, "optimizer": self.optimizer.state_dict()}

    def take_up(self, found: Supernet) -> int:
        """Goes on where a checkpoint was written; returns its epochs."""
        self.model.load_state_dict(found.state)
        with torch.no_grad():
            for name, level in self.levels.items():
                level.copy_(found.levels[name])
        self.optimizer.load_state_dict(found.progress["optimizer"])
        while self.steps < found.progress["steps"]:
            self.schedule()
            self.steps += 1
        return int(found.progress["epoch"])


def _trains_channels_last(model: nn.Module, example: object) -> bool:
    """Whether weights are laid out channels-last, as `training.channels_last` would.

    Not where a pointwise convolution has a stride: a smaller network may have the few input
    channels that torch gets wrong.
    """
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    if any(m.kernel_size == (1, 1) and max(m.stride) > 1 for m in convolutions):
        return False
    laid = channels_last(copied(model), example)
    images = [p for p in laid.parameters() if p.dim() == 4]
    return bool(images) and all(p.is_contiguous(memory_format=torch.channels_last) for p in images)
