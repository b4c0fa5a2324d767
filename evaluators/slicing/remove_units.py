"""Units taken out of a model: parameters and buffers lose entries, modules learn their sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.slicing.attribute_repair import SizeAttribute, set_sizes
from evaluators.slicing.channel_units import Cut, UnitGroup
from evaluators.slicing.grouped_weights import by_channel, from_channels
from evaluators.slicing.module_sizes import fit_sizes
from evaluators.slicing.weight_norms import fuse_weight_norms, fused_name

_REMOVED = "units_removed"


class PruneError(RuntimeError):
    """The pruned model isn't what was asked for."""


@dataclass(frozen=True)
class Place:
    """A parameter or buffer, or a plain attribute that is a tensor.

    Attributes:
        name: canonical, of the first owner.
        tensor: its values.
        owners: modules that hold it, with the attribute's name in each.
    """

    name: str
    tensor: Tensor
    owners: tuple[tuple[nn.Module, str], ...]

    @property
    def channel_groups(self) -> int:
        """Groups of the convolution that it is the weight of; 1 of others."""
        for module, attribute in self.owners:
            groups = getattr(module, "groups", 1)
            if attribute == "weight" and isinstance(groups, int) and self.tensor.dim() > 2:
                return groups
        return 1

    def is_grouped(self, cut: Cut) -> bool:
        """Whether the indices of a cut count the channels of all groups of a convolution."""
        if cut.axis != 1 or self.channel_groups == 1:
            return False
        return largest_index(cut) >= self.tensor.shape[1]


class Places:
    """Every tensor of a model by each of its names.

    Args:
        model: without computed weights.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        owners: dict[int, list[tuple[str, nn.Module, str, Tensor]]] = {}
        for prefix, module in model.named_modules():
            held: Iterable[tuple[str, Tensor | None]] = (
                *module._parameters.items(),
                *module._buffers.items(),
                *((n, v) for n, v in vars(module).items() if isinstance(v, Tensor)),
            )
            for attribute, tensor in held:
                if tensor is not None:
                    full = f"{prefix}.{attribute}" if prefix else attribute
                    owners.setdefault(id(tensor), []).append((full, module, attribute, tensor))
        self._places = {}
        for found in owners.values():
            place = Place(found[0][0], found[0][3], tuple((m, a) for _, m, a, _ in found))
            self._places.update({full: place for full, *_ in found})
        for prefix, module in model.named_modules(remove_duplicate=False):
            # A module with two names has its tensors under both.
            for attribute in (*module._parameters, *module._buffers):
                full = f"{prefix}.{attribute}" if prefix else attribute
                tensor = getattr(module, attribute)
                if full not in self._places and tensor is not None:
                    self._places[full] = self._places[owners[id(tensor)][0][0]]

    def known(self, name: str) -> Place:
        """A tensor by a name of its own."""
        return self._places[name]

    def find(self, name: str) -> Place | None:
        """The tensor of a name, or the fused weight that it was behind.

        Raises:
            PruneError: the model has neither.
        """
        if name in self._places:
            return self._places[name]
        fused = fused_name(name)
        if fused is not None and fused in self._places:
            return self._places[fused]
        if "parametrizations." in name or name.endswith(("_u", "_mask")):
            return None
        raise PruneError(
            f"{type(self.model).__name__} has no parameter or buffer '{name}', of which channels "
            "are to be removed: the plan is of another model, write the network's file again with "
            "`joint-ga space`"
        )


def remove_units(
    model: nn.Module,
    groups: Sequence[UnitGroup],
    removed: Mapping[str, Collection[int]],
    attributes: Sequence[SizeAttribute] = (),
) -> None:
    """Takes units out of a model, in place.

    Weights that are computed at each call (weight norm and the like) become plain parameters.
    Tensors that several modules share stay shared. dtype, device and ``requires_grad`` are kept,
    gradients are dropped.

    Args:
        model: whole, or without units that an earlier call removed.
        groups: of the whole model.
        removed: indices of units by group, counted in the model as it is.
        attributes: numbers in the modules that follow the groups' units.

    Raises:
        PruneError: a tensor of a group is missing, or what is left of a module has no shape
            that its kind can have.
    """
    fuse_weight_norms(model)
    gone = removed_counts(model, groups)
    places = Places(model)
    drops: dict[str, dict[int, set[int]]] = {}
    grouped: dict[str, set[int]] = {}
    for group in shrunk(groups, gone):
        lost = sorted(set(removed.get(group.name, ())))
        if not lost:
            continue
        if lost[0] < 0 or lost[-1] >= group.units or len(lost) == group.units:
            raise PruneError(
                f"group '{group.name}': units {lost} can't be removed of {group.units}"
            )
        for cut in group.cuts:
            place = places.find(cut.parameter)
            if place is not None:
                entries = {i for unit in lost for i in cut.indices[unit]}
                drops.setdefault(place.name, {}).setdefault(cut.axis, set()).update(entries)
                if place.is_grouped(cut):
                    grouped.setdefault(place.name, set()).add(cut.axis)
    _slice(places, drops, grouped)
    counts = {name: len(set(units)) for name, units in removed.items() if units}
    set_sizes(model, attributes, counts)
    total = {g.name: (g.units, gone[g.name] + counts.get(g.name, 0)) for g in groups}
    setattr(model, _REMOVED, total)


def removed_counts(model: nn.Module, groups: Sequence[UnitGroup]) -> dict[str, int]:
    """Units that `remove_units` took out of a model already, by group.

    Args:
        model: whole, or pruned before.
        groups: of the whole model. A pruned model that is a task's model now is a whole one to
            the groups that were read from it.
    """
    noted: dict[str, tuple[int, int]] = getattr(model, _REMOVED, {})
    found = {}
    for group in groups:
        units, removed = noted.get(group.name, (0, 0))
        found[group.name] = removed if units == group.units else 0
    return found


def largest_index(cut: Cut) -> int:
    """The last entry that a cut names, -1 if it names none."""
    return max((max(entries, default=-1) for entries in cut.indices), default=-1)


def shrunk(groups: Sequence[UnitGroup], gone: Mapping[str, int]) -> list[UnitGroup]:
    """The groups of a model that lost some units.

    Which ones it lost makes no difference: the model's code knows sizes only, so units of a
    smaller model lie where they would lie if the last of each block had gone.

    Args:
        groups: of the whole model.
        gone: units lost by group.
    """
    if not any(gone.values()):
        return list(groups)
    lost = {g.name: set(last_units(g, gone[g.name])) for g in groups if gone.get(g.name, 0)}
    dropped: dict[tuple[str, int], set[int]] = {}
    for group in groups:
        for cut in group.cuts:
            entries = (i for unit in lost.get(group.name, ()) for i in cut.indices[unit])
            dropped.setdefault((cut.parameter, cut.axis), set()).update(entries)
    found = []
    for group in groups:
        left = [u for u in range(group.units) if u not in lost.get(group.name, ())]
        cuts = []
        for cut in group.cuts:
            moved = _renumbered(cut, dropped[cut.parameter, cut.axis])
            cuts.append(
                replace(cut, indices=tuple(tuple(moved[i] for i in cut.indices[u]) for u in left))
            )
        found.append(replace(group, units=len(left), cuts=tuple(cuts)))
    return found


def last_units(group: UnitGroup, count: int) -> list[int]:
    """The last units of each block of a group, ``count`` in all."""
    size, each = group.units // group.step, count // group.step
    return [block * size + i for block in range(group.step) for i in range(size - each, size)]


def _renumbered(cut: Cut, dropped: set[int]) -> dict[int, int]:
    moved, next_index = {}, 0
    for i in range(largest_index(cut) + 1):
        if i not in dropped:
            moved[i] = next_index
            next_index += 1
    return moved


def _slice(
    places: Places, drops: Mapping[str, Mapping[int, set[int]]], grouped: Mapping[str, set[int]]
) -> None:
    touched: dict[int, tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, set[int]]]]] = {}
    for name, axes in drops.items():
        place = places.known(name)
        smaller = _smaller(place, axes, grouped.get(name, set()))
        put(place, smaller)
        for module, attribute in place.owners:
            whole = touched.setdefault(id(module), (module, {}, {}))
            whole[1][attribute] = place.tensor
            whole[2][attribute] = {axis: set(lost) for axis, lost in axes.items()}
    for module, before, lost_of in touched.values():
        try:
            fit_sizes(module, before, lost_of)
        except ValueError as error:
            raise PruneError(str(error)) from None


def _smaller(place: Place, axes: Mapping[int, set[int]], grouped: set[int]) -> Tensor:
    values = place.tensor.detach()
    groups, device = place.channel_groups, values.device
    for axis in sorted(axes, key=lambda a: a not in grouped):
        spread = by_channel(values, groups) if axis in grouped else values
        size = len(spread) if axis in grouped else values.shape[axis]
        left = torch.tensor([i for i in range(size) if i not in axes[axis]], device=device)
        if axis not in grouped:
            values = values.index_select(axis, left)
        elif len(left) % groups:
            raise PruneError(
                f"'{place.name}': {len(left)} channels are left, which {groups} groups can't share"
            )
        else:
            values = from_channels(spread.index_select(0, left), groups).contiguous()
    return values


def put(place: Place, values: Tensor) -> None:
    """Gives all owners of a tensor another one; a parameter stays a parameter."""
    if isinstance(place.tensor, nn.Parameter):
        values = nn.Parameter(values, requires_grad=place.tensor.requires_grad)
    for module, attribute in place.owners:
        held: Any = next(
            (d for d in (module._parameters, module._buffers) if attribute in d), vars(module)
        )
        held[attribute] = values
