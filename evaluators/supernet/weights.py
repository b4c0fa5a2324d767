"""A trained supernet: its weights and scales, its file, and what a trial takes from it."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.baseline import weights_of
from evaluators.cache import fingerprint, write_atomically
from evaluators.compression.decisions import Candidate
from evaluators.compression.pruning import plan_of
from evaluators.compression.qat import FakeQuantizer
from evaluators.pytree import tensors
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.plan import UnitPlan
from evaluators.slicing.weight_norms import copied
from evaluators.supernet.choices import Choices
from evaluators.supernet.slices import Slice, level_key, rounded_parameters
from evaluators.task import Batches, Task
from hardware import Network
from hardware.ir.layer import UNIFORM

FORMAT = 1

Facts = dict[str, str | int | float]
Space = dict[str, list[object]]
State = dict[str, Any]


@dataclass
class Supernet:
    """One set of weights for all networks of a search space.

    Attributes:
        state: the whole model's, units in order.
        levels: largest levels of each weight and low bit-width, (C,) of its output channels.
        space: values that it was trained for, by gene.
        facts: of the training: task, epochs, seed; what the model and the data were.
        path: its file, for messages.
        progress: what an unfinished training needs to go on; empty in a finished one.
    """

    state: dict[str, Tensor]
    levels: dict[str, Tensor]
    space: Space
    facts: Facts
    path: Path = Path("the supernet")
    progress: State = field(default_factory=dict)

    def digest(self) -> str:
        """64 hex digits that change with any number in it."""
        found = hashlib.sha256(
            repr((sorted(self.space.items()), sorted(self.facts.items()))).encode()
        )
        for part in (self.state, self.levels, self.progress):
            for name, value in _flat(part):
                found.update(name.encode())
                if isinstance(value, Tensor):
                    found.update(value.detach().cpu().contiguous().numpy().tobytes())
                else:
                    found.update(repr(value).encode())
        return found.hexdigest()

    def packed(self) -> bytes:
        """What its file holds."""
        content = {
            "format": FORMAT,
            "state": {name: t.detach().cpu().contiguous() for name, t in self.state.items()},
            "levels": {name: t.detach().cpu().contiguous() for name, t in self.levels.items()},
            "space": self.space,
            "facts": self.facts,
            "progress": self.progress,
            "digest": self.digest(),
        }
        # In memory first: the zip's folder would be called after the temporary file.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OSError: it can't be written.
        """
        content = self.packed()
        write_atomically(path, lambda to: _write(content, to))

    @classmethod
    def load(cls, path: Path) -> Supernet:
        """Reads a file; of the code in it nothing is run.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is cut off, changed or something else.
        """
        data = path.read_bytes()
        try:
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}")
            found = cls(
                content["state"],
                content["levels"],
                content["space"],
                content["facts"],
                path,
                content["progress"],
            )
            whole = found.digest() == content["digest"]
        # Whatever torch's reader says to bytes of any kind.
        except Exception as error:
            text = str(error).splitlines()[0][:120] if str(error) else "no message"
            raise DamagedError(
                f"{path} is no supernet, or was cut off ({type(error).__name__}: {text}); remove "
                "it and train it again with `joint-ga supernet`"
            ) from error
        if not whole:
            raise DamagedError(
                f"{path} is damaged (its checksum differs); remove it and train it again with "
                "`joint-ga supernet`"
            )
        return found

    @property
    def choices(self) -> Choices:
        """What it was trained for."""
        return Choices.of(self.space)

    def check(self, task: Task, network: Network, params: Mapping[str, object]) -> None:
        """Refuses a task or chromosome that it is not of.

        Raises:
            ValueError: what differs, and from what.
        """
        self.check_task(task)
        self.choices.check(network, params, str(self.path))

    def check_task(self, task: Task) -> None:
        """Compares the model and the data with those of its training.

        Raises:
            ValueError: one differs.
        """
        for what, now in identity(task).items():
            if now != self.facts.get(what):
                raise ValueError(
                    f"{self.path} is of {_ANOTHER[what]} (it was trained for the task "
                    f"{self.facts.get('task')!r}); train one for this task with `joint-ga supernet`"
                )

    def model(self, task: Task) -> nn.Module:
        """The whole float model with these weights, in eval mode."""
        model = make_plain(copied(task.model))
        model.load_state_dict(self.state)
        return model.eval()

    def hand_over(
        self, task: Task, network: Network, candidate: Candidate, quantizer: FakeQuantizer
    ) -> None:
        """Gives NNI's quantizers the scales of a network that was cut from :meth:`model`.

        Factorized layers and other schemes than the uniform keep what they start from.

        Args:
            task: its model is the whole one.
            network: of it.
            candidate: how the network was cut.
            quantizer: around the network.
        """
        whole = self.model(task)
        plan = plan_of(task.model, task.inputs, network, task)
        weights = rounded_parameters(whole, module_names(network))
        part = Slice(whole, plan, removed_units(network, plan, candidate.kept), weights)
        for name, layer in quantizer.layers.items():
            if layer.bits.scheme != UNIFORM or name not in weights:
                continue
            for weight in weights[name]:
                level = self.levels.get(level_key(weight.name, layer.bits.weights))
                own = layer.weights[weight.attribute]
                if level is not None and own.learned:
                    own.level.data.copy_(level[part.channels(weight)])


class DamagedError(ValueError):
    """A file that holds no whole supernet."""


_ANOTHER = {
    "model": "another float model: its weights differ",
    "data": "other data: the validation split or the number of training batches differs",
    "metric": "another metric",
}


def identity(task: Task) -> dict[str, str]:
    """What a supernet belongs to: the model's weights, the data, the metric's name."""
    return {
        "model": fingerprint(*weights_of(task.model)),
        "data": fingerprint(*_first(task.val), _length(task.val), _length(task.train)),
        "metric": task.metric_name,
    }


def _first(batches: Batches) -> list[bytes]:
    """The first batch, as it stands for the others. The model's own outputs are left out."""
    source: Batches = getattr(batches, "batches", batches)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = [tensors(batch) for batch in itertools.islice(source, 1)]
    return [torch.as_tensor(x).detach().cpu().numpy().tobytes() for xs in found for x in xs]


def _length(batches: Batches) -> int | None:
    with suppress(TypeError):  # of a loader without length
        return len(batches)  # type: ignore[arg-type]  # what is not sized raises TypeError
    return None


def removed_units(network: Network, plan: UnitPlan, kept: Mapping[str, int]) -> dict[str, int]:
    """Units that go by group, for channels that stay."""
    left = plan.units(network, kept)
    units = {group.name: group.units for group in plan.groups}
    return {name: units[name] - count for name, count in left.items()}


def module_names(network: Network) -> tuple[str, ...]:
    """Modules with weights, each once."""
    return tuple(dict.fromkeys(x.module for x in network.layers if x.is_weighted))


def _flat(value: object, name: str = "") -> list[tuple[str, object]]:
    """Leaves of nested dicts and lists by their paths."""
    if isinstance(value, Mapping):
        return [x for key in sorted(value, key=str) for x in _flat(value[key], f"{name}/{key}")]
    if isinstance(value, (list, tuple)):
        return [x for i, child in enumerate(value) for x in _flat(child, f"{name}/{i}")]
    return [(name, value)]


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)
