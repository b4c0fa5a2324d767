"""The units of each group sorted by importance, so that a smaller network is the first of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evaluators.compression.submodules import BATCH_NORMS
from evaluators.compression.unit_scores import UnitTensor
from evaluators.process_state import eval_mode
from evaluators.pytree import call, tensors
from evaluators.slicing.channel_units import UnitGroup
from evaluators.slicing.remove_units import Places

TOLERANCE = 1e-4
"""Largest change of the outputs by a new order, relative to their range: float32's own errors."""


def sort_units(model: nn.Module, groups: Sequence[UnitGroup], example: object) -> tuple[str, ...]:
    """Puts the units of each group in order, the most important first, in place.

    The order is found within each block of a group, since blocks lose units alike. What the model
    computes stays the same: a group whose new order changes the outputs keeps its old one.

    Args:
        model: whole, without computed weights, in eval mode.
        groups: of this very model.
        example: a batch of inputs.

    Returns:
        Names of the groups that keep their order.
    """
    places = Places(model)
    before = _outputs(model, example)
    kept = []
    for group in groups:
        if group.reason:
            continue
        order = importance_order(places, group)
        found = _distinct(places, group)
        old = [tensor.place.tensor.detach().clone() for tensor in found]
        _permute(found, order)
        if not _alike(before, _outputs(model, example)):
            kept.append(group.name)
            for tensor, values in zip(found, old, strict=True):
                tensor.place.tensor.data.copy_(values)
    return tuple(kept)


def importance_order(places: Places, group: UnitGroup) -> list[int]:
    """The units of a group by falling importance within each block.

    A unit's importance is how large it can get times how much is made of it: the scale of its
    batch norm (or the mean magnitude of its own weights, where there is none) times the sum of the
    magnitudes of the weights that read it.
    """
    scales, rows, reads = [], [], []
    for tensor in _distinct(places, group):
        magnitudes = tensor.rows().abs()
        if not tensor.cut.produces:
            reads.append(magnitudes.sum(1))
        elif any(isinstance(m, BATCH_NORMS) and a == "weight" for m, a in tensor.place.owners):
            scales.append(magnitudes.mean(1))
        elif tensor.place.tensor.dim() > 1:
            rows.append(magnitudes.mean(1))
    importance = torch.ones(group.units)
    for factors in (scales or rows, reads):
        if factors:
            importance = importance * torch.stack(factors).sum(0).cpu()
    size = group.units // group.step
    found: list[int] = []
    for start in range(0, group.units, size):
        order = torch.argsort(importance[start : start + size], descending=True, stable=True)
        found += [start + i for i in order.tolist()]
    return found


def _distinct(places: Places, group: UnitGroup) -> list[UnitTensor]:
    """Each place of a group's units once, and float tensors only."""
    found: dict[tuple[object, ...], UnitTensor] = {}
    for cut in group.cuts:
        place = places.find(cut.parameter)
        if place is not None and place.tensor.is_floating_point():
            found.setdefault((place.name, cut.axis, cut.indices), UnitTensor(place, cut))
    return list(found.values())


def _permute(found: Sequence[UnitTensor], order: Sequence[int]) -> None:
    with torch.no_grad():
        for tensor in found:
            rows = tensor.rows()[list(order)]
            # The tensor is read again: another group may have moved its other axis.
            whole = tensor.place.tensor.detach()
            tensor.place.tensor.data.copy_(tensor.put(whole.clone(), rows))


def _outputs(model: nn.Module, example: object) -> list[Tensor]:
    with eval_mode(model), torch.no_grad():
        found = tensors(call(model, example))
    return [x.detach().clone() for x in found if x.is_floating_point()]


def _alike(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return all(
        float((a - b).abs().max()) <= TOLERANCE * (float(a.abs().max()) + 1e-12)
        for a, b in zip(before, after, strict=True)
        if a.numel()
    )
