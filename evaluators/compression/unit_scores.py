"""NNI's pruners choose the units that go.

NNI's pruners score rows of the weights of single layers. A unit may be several rows of several
tensors, of modules that NNI doesn't know. So the pruner gets stand-ins: for each layer of a group
a linear layer with one row for each unit, which holds all entries of the unit there. Scores,
their sum over a group's layers, blocks and ratio are NNI's. For the criteria that look at data,
the model runs with weights that are put together from the stand-ins.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from evaluators import nni_imports
from evaluators.slicing.channel_units import Cut, UnitGroup
from evaluators.slicing.grouped_weights import by_channel, from_channels
from evaluators.slicing.module_sizes import refresh_flat_weights
from evaluators.slicing.remove_units import Place, Places, PruneError
from evaluators.task import Task
from evaluators.training import call

SCORING_STEPS = 10
"""Training batches that the criteria with data see. The model's weights stand still meanwhile:
``taylor`` sums its scores, ``slim`` and ``movement`` train one score of their own per channel."""

SUPERNET_ORDER = "supernet"
"""Criterion of a model whose units lie in the order of a supernet: the last ones go."""

_Norms = dict[str, dict[str, Tensor]]
"""Scores of NNI's pruners: module -> target -> a score for each entry."""

_NORMS = {"l1": "L1NormPruner", "l2": "L2NormPruner", "fpgm": "FPGMPruner"}


class Linear(nn.Module):
    """A layer's weights with one row for each unit; NNI knows modules by their class' name.

    Args:
        weight: ``(units, entries)``.
        bias: ``(units,)``, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self) -> tuple[Tensor, Tensor | None]:
        """Both tensors, as the pruner masks them."""
        return self.weight, self.bias


@dataclass(frozen=True)
class UnitTensor:
    """A tensor of the model whose entries along one axis are those of a group's units."""

    place: Place
    cut: Cut

    @property
    def _groups(self) -> int:
        grouped = self.place.is_grouped(self.cut)
        return self.place.channel_groups if grouped else 0

    @property
    def _entries(self) -> Tensor:
        flat = [i for unit in self.cut.indices for i in unit]
        return torch.tensor(flat, device=self.place.tensor.device)

    def rows(self) -> Tensor:
        """The units' entries, ``(units, entries)``."""
        return self.entries(self.place.tensor.detach()).clone()

    def entries(self, values: Tensor) -> Tensor:
        """The units' entries of a tensor of the same shape, ``(units, entries)``."""
        groups = self._groups
        spread = by_channel(values, groups) if groups else values.movedim(self.cut.axis, 0)
        return spread[self._entries].reshape(len(self.cut.indices), -1)

    def put(self, whole: Tensor, rows: Tensor) -> Tensor:
        """The whole tensor with these rows in it."""
        groups, axis = self._groups, self.cut.axis
        spread = by_channel(whole, groups) if groups else whole.movedim(axis, 0)
        found = spread.index_copy(0, self._entries, rows.reshape(-1, *spread.shape[1:]))
        return from_channels(found, groups) if groups else found.movedim(0, axis)


@dataclass(frozen=True)
class _StandIn:
    """One layer of a group before the pruner."""

    module: Linear
    weight: UnitTensor
    bias: UnitTensor | None
    config: dict[str, object]


class _Scored(nn.Module):
    """A model that runs with what the pruner makes of the stand-ins.

    Args:
        model: in eval mode; left as it is.
        stand_ins: by the name that the pruner calls them.
    """

    def __init__(self, model: nn.Module, stand_ins: Mapping[str, _StandIn]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: s.module for name, s in stand_ins.items()})
        # Not a submodule: the pruner and the optimizer have no business with it.
        self._model = [model]
        self._stand_ins = stand_ins

    def forward(self, *inputs: Any) -> Any:
        """What the model answers."""
        found: dict[str, Tensor] = {}
        for name, stand_in in self._stand_ins.items():
            weight, bias = self.layers[name]()
            for tensor, rows in ((stand_in.weight, weight), (stand_in.bias, bias)):
                if tensor is not None:
                    whole = found.get(tensor.place.name, tensor.place.tensor.detach())
                    found[tensor.place.name] = tensor.put(whole, rows)
        return functional_call(self._model[0], found, inputs, tie_weights=True)


def choose_units(
    model: nn.Module,
    groups: Sequence[UnitGroup],
    kept: Mapping[str, int],
    task: Task | None = None,
    criterion: str | None = None,
) -> dict[str, list[int]]:
    """The units that go, by group, in order.

    Scores are summed over the weights of all layers of a group that are of its first one's kind;
    those of other kinds aren't on one scale.

    Args:
        model: without computed weights; left as it is.
        groups: of this very model.
        kept: units to keep, for each group that loses some.
        task: names the criterion, and has the data that some need; ``l1`` without it.
        criterion: a name of ``recipe.PRUNERS``, if it isn't the task's, or
            :data:`SUPERNET_ORDER`.

    Raises:
        ValueError: the criterion needs a task, or a group isn't there.
        PruneError: NNI's pruner left another number of units.
    """
    by_name = {group.name: group for group in groups}
    stand_ins: dict[str, _StandIn] = {}
    leads: dict[str, str] = {}
    places = Places(model)
    for name, count in kept.items():
        if name not in by_name:
            raise ValueError(f"the plan of the network has no units of '{name}'")
        found = _stand_ins(model, places, by_name[name], count, len(stand_ins))
        leads[name] = next(iter(found))
        stand_ins.update(found)
    try:
        masks = _masks(_Scored(model, stand_ins), task, criterion)
    finally:
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                # Torch puts parameters back that it had replaced, but not into this list.
                refresh_flat_weights(module)
    chosen = {}
    for name, lead in leads.items():
        alive = masks[f"layers.{lead}"]["weight"].flatten(1).any(1)
        gone = torch.nonzero(~alive).flatten().tolist()
        if by_name[name].units - len(gone) != kept[name]:
            raise PruneError(
                f"group '{name}': asked for {kept[name]} of {by_name[name].units} units, got "
                f"{by_name[name].units - len(gone)}"
            )
        chosen[name] = gone
    return chosen


def _stand_ins(
    model: nn.Module, places: Places, group: UnitGroup, count: int, start: int
) -> dict[str, _StandIn]:
    """One for each producing weight of the group's layers, named by numbers from ``start``."""
    found: dict[str, _StandIn] = {}
    kind: type[nn.Module] | None = None
    lead = ""
    for tensor, owner in _weights(places, group):
        bias = _bias(places, group, owner)
        name = str(start + len(found))
        module = Linear(tensor.rows(), None if bias is None else bias.rows().flatten())
        kind, lead = kind or type(owner), lead or name
        path = f"layers.{name}"
        if type(owner) is kind:
            config: dict[str, object] = {
                "op_names": [path],
                # NNI removes int(C * ratio) units; the offset keeps that above the float error.
                "sparse_ratio": (group.units - count + 1e-3) / group.units,
                "dependency_group_id": group.name,
                "internal_metric_block": group.step,
            }
        else:
            target = {"module_name": f"layers.{lead}", "target_name": "weight", "dims": [0]}
            align = {"granularity": "out_channel", "align": target}
            settings = {"weight": align, "bias": {"align": target}}
            config = {"op_names": [path], "target_settings": settings}
        found[name] = _StandIn(module, tensor, bias, config)
    if not found:
        raise PruneError(f"group '{group.name}' has no weights that its units could be scored by")
    return found


def _weights(places: Places, group: UnitGroup) -> list[tuple[UnitTensor, nn.Module]]:
    """Producing tensors of two and more axes: those of the group's layers, or else of any."""
    found: dict[str, tuple[UnitTensor, nn.Module, bool]] = {}
    for cut in group.cuts:
        place = places.find(cut.parameter)
        if not cut.produces or place is None or place.tensor.dim() < 2 or place.name in found:
            continue
        owner = cut.parameter.rpartition(".")[0]
        named = any(owner == n or owner.startswith(f"{n}.") for n in group.layers)
        found[place.name] = UnitTensor(place, cut), place.owners[0][0], named
    of_layers = [(t, m) for t, m, named in found.values() if named]
    return of_layers or [(t, m) for t, m, _ in found.values()]


def _bias(places: Places, group: UnitGroup, owner: nn.Module) -> UnitTensor | None:
    """The bias of a module, where each unit has one entry in it."""
    for cut in group.cuts:
        place = places.find(cut.parameter)
        if place is None or not cut.produces or place.tensor.dim() != 1:
            continue
        held = any(m is owner and a == "bias" for m, a in place.owners)
        if held and len(cut.indices[0]) == 1:
            return UnitTensor(place, cut)
    return None


def _masks(
    scored: _Scored, task: Task | None, criterion: str | None
) -> dict[str, dict[str, Tensor]]:
    pruning = nni_imports.nni_pruning()
    config = [stand_in.config for stand_in in scored._stand_ins.values()]
    criterion = criterion or ("l1" if task is None else task.recipe.pruner)
    steps: tuple[int | None, ...] = ()
    if criterion == SUPERNET_ORDER:
        pruner = _order_pruner(pruning)(scored, config)
    elif criterion in _NORMS:
        pruner = getattr(pruning, _NORMS[criterion])(scored, config)
    elif task is None:
        raise ValueError(f"pruner={criterion!r} needs a task: it scores channels on its data")
    else:
        evaluator = _frozen_evaluator(scored, task)
        if criterion == "taylor":
            pruner = pruning.TaylorPruner(scored, config, evaluator, SCORING_STEPS)
        elif criterion == "slim":
            pruner = pruning.SlimPruner(scored, config, evaluator, SCORING_STEPS)
        else:
            # From its first step on, its masks reach the ratio with the last one.
            pruner = pruning.MovementPruner(scored, config, evaluator, 0, SCORING_STEPS)
            steps = (SCORING_STEPS, None)
    try:
        _, masks = pruner.compress(*steps)
    finally:
        pruner.unwrap_model()
    found: dict[str, dict[str, Tensor]] = masks
    return found


def _order_pruner(pruning: ModuleType) -> type:
    """NNI's pruner with a supernet's order in place of norms."""

    class SupernetOrderPruner(pruning.L1NormPruner):  # type: ignore[name-defined, misc]  # NNI is loaded late
        """The first unit of a layer has the highest score, the last one the lowest."""

        def _calculate_metrics(self, data: object) -> _Norms:
            norms = super()._calculate_metrics(data)
            return {
                module: {
                    name: torch.arange(n.numel(), 0.0, -1.0).reshape(n.shape)
                    for name, n in targets.items()
                }
                for module, targets in norms.items()
            }

    return SupernetOrderPruner


def _frozen_evaluator(scored: _Scored, task: Task) -> object:
    """An NNI evaluator that makes gradients but moves no weight: NNI's pruner takes real steps."""

    def train(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        training_step: Callable[[object, nn.Module], Tensor],
        lr_schedulers: object = None,
        max_steps: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        # Eval mode, so that no batch norm moves either.
        scored._model[0].eval()
        for batch in itertools.islice(itertools.cycle(task.train), max_steps):
            optimizer.zero_grad()
            torch.autograd.backward(training_step(batch, model))
            optimizer.step()

    still = nni_imports.import_nni().trace(torch.optim.SGD)(scored.parameters(), lr=0.0)
    return nni_imports.nni_utils().TorchEvaluator(
        train, still, lambda batch, model: task.loss(call(model, batch[0]), batch[1])
    )
