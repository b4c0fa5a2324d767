"""Removes channels: NNI's pruner chooses them, and they are cut out of the model's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from evaluators.compression.unit_scores import choose_units
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.plan import UnitPlan, stored_plan
from evaluators.slicing.remove_units import PruneError, remove_units, removed_counts, shrunk
from evaluators.slicing.weight_norms import copied
from evaluators.task import Task
from evaluators.tracing.trace import read_units
from hardware import Layer, Network

_PLANS: WeakKeyDictionary[Network, UnitPlan] = WeakKeyDictionary()
"""Plans that were read or traced already: a trial asks several times."""


def prune(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    network: Network,
    kept: Mapping[str, int],
    layers: tuple[Layer, ...],
    *,
    task: Task | None = None,
    pruner: str | None = None,
) -> nn.Module:
    """Returns a copy of ``model`` without the channels that aren't kept.

    Weights that the model computes at each call (weight norm and the like) are plain in the copy,
    and attention is made of linear layers.

    Args:
        model: whole, or pruned before; left as it is.
        inputs: example inputs; only needed where the network's file has no plan.
        network: the whole model's network.
        kept: channels to keep, for each group that loses some.
        layers: ``network.apply(params)``: the shapes to arrive at, which are checked.
        task: names the criterion, and has the data that some need; ``l1`` without it.
        pruner: the criterion, if it isn't the task's.

    Raises:
        PruneError: a layer's shape isn't the one asked for.
    """
    small = make_plain(copied(model))
    if kept:
        plan = plan_of(model, inputs, network, task)
        left = shrunk(plan.groups, removed_counts(small, plan.groups))
        chosen = choose_units(small, left, plan.units(network, kept), task, pruner)
        remove_units(small, plan.groups, chosen, plan.attributes)
    check_shapes(small, layers)
    return small


def plan_of(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    network: Network,
    task: Task | None = None,
) -> UnitPlan:
    """What can be removed from a network's model: from its file, or read anew where that is old.

    Args:
        model: whole, if ``task`` isn't given.
        inputs: example inputs.
        network: of the whole model.
        task: its model is the whole one.
    """
    plan = _PLANS.get(network) or stored_plan(network.metadata)
    if plan is None:
        plan = read_units(model if task is None else task.model, inputs)
        _check_same(plan, network)
    _PLANS[network] = plan
    return plan


def _check_same(plan: UnitPlan, network: Network) -> None:
    """Compares a plan that was read now with the groups of an older file."""
    found = {group.name: group for group in plan.groups}
    for group in network.groups:
        own = found.get(group.name)
        if group.prunable and (own is None or own.reason or set(own.layers) != set(group.layers)):
            raise ValueError(
                f"the network {network.name!r} is of an older version, and its channel group "
                f"'{group.name}' ({', '.join(group.layers)}) is none now; write the network's "
                "file again with `joint-ga space`"
            )


def check_shapes(model: nn.Module, layers: tuple[Layer, ...]) -> None:
    """Compares every weight's shape with what ``Network.apply`` predicts.

    Raises:
        PruneError: one differs; the message names the layer and both shapes.
    """
    for layer in layers:
        if not layer.is_weighted:
            continue
        got = _dimensions(model.get_submodule(layer.module))
        if got is None:
            # Recurrent layers, attention and embeddings are checked as they are cut.
            continue
        asked = (layer.in_channels, layer.out_channels, layer.groups)
        if got != asked:
            raise PruneError(
                f"layer '{layer.name}': asked for (in, out, groups) = {asked}, got {got}; this is "
                "a fault of the channel analysis, please report the model"
            )


def check_model(model: nn.Module, network: Network) -> None:
    """Compares a model with a network that was read from a file.

    Raises:
        ValueError: the file describes another model; the message names the first layer that
            differs.
    """
    kind, model = type(model).__name__, make_plain(copied(model))
    # A module may be known under several names.
    modules = dict(model.named_modules(remove_duplicate=False))
    for layer in network.layers:
        if not layer.is_weighted:
            continue
        module = modules.get(layer.module)
        found = None if module is None else _dimensions(module)
        if module is not None and found is None:
            continue
        described = (layer.in_channels, layer.out_channels, layer.groups)
        if found != described:
            raise ValueError(
                f"the network {network.name!r} describes another model: layer '{layer.name}' has "
                f"(in, out, groups) = {described} there, "
                f"{'and does not exist' if found is None else found} in {kind}; "
                "write the network's file again with `joint-ga space`"
            )
    plan = stored_plan(network.metadata)
    if plan is not None:
        plan.check(model)


def _dimensions(module: Any) -> tuple[int, int, int] | None:
    """Input channels, output channels and groups; None of what isn't described by them."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features, 1
    if isinstance(module, _ConvNd):
        return module.in_channels, module.out_channels, module.groups
    return None
