"""What a compressed network learns from the float one beside the labels.

Three signals, each with its own weight in the recipe, none of which needs equal channel counts:
soft labels (Hinton et al., arXiv:1503.02531), maps of where the features are large (Zagoruyko and
Komodakis, arXiv:1612.03928), and relations between the samples of a batch (Park et al.,
arXiv:1904.05068, distances; Tung and Mori, arXiv:1907.09682, similarities).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.accelerator import device_of
from evaluators.pytree import call, children, describe, tensors
from evaluators.recipe import Loss
from evaluators.scoring import DataError
from evaluators.task import Task
from hardware import Layer

TEMPERATURE = 4.0
"""Softens both distributions (arXiv:1503.02531 uses 2 to 5 for small students)."""

LOGITS = "logits"
"""What Hugging Face's models call their class scores."""

_TINY = 1e-8


def soft_label_loss(outputs: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of softened class distributions, scaled by T squared."""
    log_p = functional.log_softmax(outputs / TEMPERATURE, dim=1)
    q = functional.softmax(teacher / TEMPERATURE, dim=1)
    return functional.kl_div(log_p, q, reduction="batchmean") * TEMPERATURE**2


def default_distillation_loss(outputs: object) -> Loss:
    """Soft labels of the class scores among the outputs.

    These are the only tensor, or the entry ``logits`` of a dict or dataclass.

    Args:
        outputs: of the model, for their form.

    Raises:
        DataError: which of them are class scores is not known.
    """

    def scores(outputs: object) -> Tensor:
        found = tensors(outputs)
        named = [child for name, child in children(outputs) or () if name == LOGITS]
        chosen = found if len(found) == 1 else named
        if len(chosen) != 1 or not isinstance(chosen[0], Tensor) or chosen[0].dim() < 2:
            raise DataError(
                "the task's distillation needs distillation_loss=loss(outputs, float model's "
                f"outputs): the model gives {describe(outputs)}, and which of that are class "
                f"scores (N, classes) is not known (one tensor would be, or an entry {LOGITS!r})"
            )
        return chosen[0]

    scores(outputs)
    return lambda outputs, teacher: soft_label_loss(scores(outputs), scores(teacher))


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two normalized attention maps, mean over the batch.

    Args:
        student: (N, C, ...) features; a map is their mean square over the channels.
        teacher: (N, C', ...) with the same positions.
    """

    def attention(x: Tensor) -> Tensor:
        return functional.normalize(x.square().mean(dim=1).flatten(1), dim=1)

    return (attention(student) - attention(teacher)).square().sum(dim=1).mean()


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the samples' distances from each other, each in units of their mean.

    Args:
        student: (N, ...) features, flattened; a batch of one has no relation and loses nothing.
        teacher: (N, ...), of any width.
    """
    if len(student) < 2:
        return student.sum() * 0.0

    def distances(x: Tensor) -> Tensor:
        apart = functional.pdist(x.flatten(1))
        return apart / apart.mean().clamp(min=_TINY)

    return functional.smooth_l1_loss(distances(student), distances(teacher))


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the matrices of the samples' inner products, rows normalized, per sample.

    Args:
        student: (N, ...) features, flattened.
        teacher: (N, ...), of any width.
    """

    def gram(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return functional.normalize(flat @ flat.T, dim=1)

    return (gram(student) - gram(teacher)).square().sum() / len(student)


RELATION_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "distance": distance_loss,
    "similarity": similarity_loss,
}


def attention_layers(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Modules whose outputs' maps are compared: the last one with weights at each resolution."""
    last: dict[tuple[int, ...], str] = {}
    for layer in layers:
        positions = layer.out_shape[1:]
        if layer.is_weighted and layer.op != "linear" and any(p > 1 for p in positions):
            last[positions] = layer.module
    return tuple(dict.fromkeys(last.values()))


def embedding_layer(layers: Sequence[Layer]) -> str | None:
    """The last module with weights: what goes into it is how the network sees a sample."""
    names = [layer.module for layer in layers if layer.is_weighted]
    return names[-1] if names else None


class _Taps:
    """The latest outputs of some modules, and the latest input of one."""

    def __init__(self, model: nn.Module, outputs: Sequence[str], entry: str | None) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.entry: Tensor | None = None
        self._handles = [
            model.get_submodule(name).register_forward_hook(self._note(name)) for name in outputs
        ]
        if entry is not None:
            module = model.get_submodule(entry)
            self._handles.append(module.register_forward_pre_hook(self._note_entry))

    def _note(self, name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def note(_: nn.Module, inputs: object, output: Tensor) -> None:
            self.outputs[name] = output

        return note

    def _note_entry(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.entry = inputs[0]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


class Teacher:
    """The float model, and how far a student in training is from it.

    Use it as a context manager around the training of one student: it listens to the student's
    layers meanwhile.

    Args:
        task: has the float model; its recipe says which signals count, and how much.
        student: its modules have the float model's names.
        layers: the network's, which say where to listen.
    """

    def __init__(self, task: Task, student: nn.Module, layers: Sequence[Layer]) -> None:
        self.recipe, self.student = task.recipe, student
        self.maps = attention_layers(layers) if task.recipe.attention else ()
        self.entry = embedding_layer(layers) if task.recipe.relations else None
        # In eval mode and a copy: hooks and modes of the task's own model are left alone.
        self.model = copy.deepcopy(task.model).eval().to(device_of(student))

    @classmethod
    def of(cls, task: Task, student: nn.Module, layers: Sequence[Layer]) -> Teacher | None:
        """The teacher that the task asks for, or None if it asks for none."""
        recipe = task.recipe
        wanted = recipe.distillation or recipe.attention or recipe.relations
        return cls(task, student, layers) if wanted else None

    def __enter__(self) -> Teacher:
        self._own = _Taps(self.model, self.maps, self.entry)
        self._other = _Taps(self.student, self.maps, self.entry)
        return self

    def __exit__(self, *_: object) -> None:
        self._own.remove()
        self._other.remove()

    def loss(self, own: Tensor, inputs: object, outputs: object) -> Tensor:
        """The training loss of a batch: the task's own and the teacher's, by the recipe's weights.

        Args:
            own: the task's loss on the batch.
            inputs: the batch, a tensor, a tuple of them or a dict.
            outputs: the student's, from the latest forward pass.
        """
        recipe = self.recipe
        with torch.no_grad():
            soft = call(self.model, inputs)
        total = own
        if recipe.distillation:
            follow = recipe.distillation_loss or default_distillation_loss(soft)
            total = (1.0 - recipe.distillation) * own
            total = total + recipe.distillation * follow(outputs, soft)
        if self.maps:
            gaps = [
                attention_loss(self._other.outputs[name], self._own.outputs[name])
                for name in self.maps
            ]
            total = total + recipe.attention * torch.stack(gaps).mean()
        if self._own.entry is not None and self._other.entry is not None:
            relate = RELATION_LOSSES[recipe.relation]
            total = total + recipe.relations * relate(self._other.entry, self._own.entry)
        return total
