"""A torch model as a ``hardware.Network``: layers, shapes and channel groups, by torch.export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from evaluators.process_state import process_as_found, rare_collections
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.plan import KEY, UnitPlan
from evaluators.slicing.verification import verified_plan
from evaluators.slicing.weight_norms import copied, has_computed_weights
from evaluators.task import Task
from evaluators.trace_error import TraceError
from evaluators.tracing.channel_labels import follow
from evaluators.tracing.layer_cuts import Sizes, channel_groups, with_cuts
from evaluators.tracing.layers_of_program import fallbacks, traced_layers, unpriced
from evaluators.tracing.operators.registry import operator_of
from evaluators.tracing.program import Program, read_program
from evaluators.tracing.traced_layer import TracedLayer
from evaluators.tracing.unit_groups import unit_groups
from hardware import Network
from hardware.ir.restrictions import restricted

Look = Callable[[nn.Module, Program], None]
"""Sees a model and its program, which takes a second to read."""

LOG = logging.getLogger(__name__)


@process_as_found()
def trace(task: Task, *, channel_multiple: int = 1, look: Look | None = None) -> Network:
    """Describes a task's model as a network: layers, shapes, channel groups.

    What may be removed is tried on the model itself; its metadata hold the plan
    (`evaluators.slicing.plan`), so that a trial traces nothing.

    Args:
        task: its model is left as it is.
        channel_multiple: channel counts are kept at multiples of it where they were.
        look: called with the model, as it was read, and its program.

    Raises:
        TraceError: torch.export can't follow the model, or it has a number that isn't priced.
        ValueError: the task decides about a layer that there isn't, or what can't be.
    """
    network = network_of(
        task.model,
        task.inputs,
        name=task.name or type(task.model).__name__,
        channel_multiple=channel_multiple,
        metadata={"metric_name": task.metric_name, "metric_mode": task.metric_mode},
        look=look,
    )
    return restricted(network, task.restrictions)


@rare_collections()
def network_of(
    model: nn.Module,
    inputs: tuple[object, ...],
    keywords: Mapping[str, object] | None = None,
    *,
    name: str = "",
    channel_multiple: int = 1,
    metadata: Mapping[str, object] | None = None,
    look: Look | None = None,
) -> Network:
    """What `trace` does, for a model and one batch of inputs.

    Raises:
        TraceError: as `trace`.
    """
    model = _plain(model)
    read = _read(model, inputs, keywords, look)
    plan = verified_plan(model, inputs, read.sizes.groups, keywords)
    read.sizes.groups = plan.groups
    for group in plan.groups:
        if group.reason:
            LOG.info("channels of '%s' stay whole: %s", "', '".join(group.layers), group.reason)
    for layer, kind in fallbacks(read.traced).items():
        LOG.warning("layer '%s' (%s) has no cost rule: it is priced by its elements", layer, kind)
    return Network(
        with_cuts(read.traced, read.sizes),
        channel_groups(read.traced, read.sizes),
        name=name or type(model).__name__,
        channel_multiple=channel_multiple,
        metadata={**(metadata or {}), KEY: plan.to_json()},
    )


@rare_collections()
def read_units(
    model: nn.Module, inputs: tuple[object, ...], keywords: Mapping[str, object] | None = None
) -> UnitPlan:
    """What can be removed from a model; for network files that have no plan.

    Raises:
        TraceError: as `trace`.
    """
    model = _plain(model)
    read = _read(model, inputs, keywords)
    return verified_plan(model, inputs, read.sizes.groups, keywords)


def _plain(model: nn.Module) -> nn.Module:
    """A copy without computed weights; it has the model's own tensors where there are none."""
    return make_plain(copied(model, shared=not has_computed_weights(model)))


@dataclass
class _Read:
    traced: list[TracedLayer]
    sizes: Sizes


def _read(
    model: nn.Module,
    inputs: tuple[object, ...],
    keywords: Mapping[str, object] | None,
    look: Look | None = None,
) -> _Read:
    program = read_program(model, inputs, keywords)
    if look is not None:
        look(model, program)
    traced = traced_layers(program, model)
    kind = type(model).__name__
    if not any(one.layer.is_weighted for one in traced):
        raise TraceError(
            f"{kind} has no layer that can be compressed: it needs at least one convolution, "
            "linear, recurrent layer or embedding"
        )
    missing = [tensor for tensor, why in unpriced(program, traced).items() if not why]
    if missing:
        raise TraceError(
            f"{kind}: no layer accounts for '{missing[0]}'"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ", so its costs would be too low; please report the model"
        )
    flow = follow(program, lambda operation: operator_of(operation.kind).channels)
    classes = flow.settle()
    names = {one.operation: one.layer.name for one in traced if one.layer.is_weighted}
    groups, members = unit_groups(flow, classes, names)
    return _Read(traced, Sizes(flow, classes, groups, members))
