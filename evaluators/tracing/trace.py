"""A torch model as a ``hardware.Network``: layers, shapes and channel groups, by torch.fx."""

from __future__ import annotations

import copy
import logging
import math
from collections import Counter

from torch import nn

from evaluators.process_state import process_as_found
from evaluators.task import Task
from evaluators.tracing.channel_dependency import WEIGHTED, ChannelFlow, merge_nni_groups
from evaluators.tracing.channel_groups import Ties
from evaluators.tracing.fx_graph import TraceError, graph_of
from evaluators.tracing.fx_to_layers import GraphLayers
from hardware import ChannelGroup, Network

LOG = logging.getLogger(__name__)


@process_as_found()
def trace(task: Task, *, channel_multiple: int = 1) -> Network:
    """Describes a task's model as a network: layers, shapes, channel groups.

    Args:
        task: its model is left as it is.
        channel_multiple: channel counts are kept at multiples of it where they were.

    Raises:
        TraceError: torch.fx can't follow the model, or nothing in it could be compressed.
    """
    model = copy.deepcopy(task.model)
    graph_module = graph_of(model, task.inputs)
    calls = Counter(str(n.target) for n in graph_module.graph.nodes if n.op == "call_module")
    reused = frozenset(name for name, count in calls.items() if count > 1)
    layers = list(GraphLayers(graph_module).build())
    ties = ChannelFlow(graph_module, reused).analyse()
    _pin_shared_weights(model, ties)
    merge_nni_groups(graph_module, ties)
    weighted = [layer.name for layer in layers if layer.is_weighted]
    if not weighted:
        raise TraceError(
            f"{type(task.model).__name__} has no layer that can be compressed: it needs at least "
            "one Conv1d, Conv2d, ConvTranspose or Linear module"
        )
    groups = _groups([name for name in weighted if name in ties.parent], ties)
    for group in groups:
        if not group.prunable:
            LOG.info("channels of '%s' stay whole: %s", "', '".join(group.layers), group.reason)
    if not any(g.prunable for g in groups):
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in groups)
        raise TraceError(
            f"{type(task.model).__name__} has no prunable layer ({reasons}): it needs a Conv1d, "
            "Conv2d, ConvTranspose or Linear layer before its last one"
        )
    return Network(
        layers,
        groups,
        name=task.name or type(task.model).__name__,
        channel_multiple=channel_multiple,
        metadata={"metric_name": task.metric_name, "metric_mode": task.metric_mode},
    )


def _pin_shared_weights(model: nn.Module, ties: Ties) -> None:
    """Two modules with one weight tensor can't lose channels one by one."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, WEIGHTED):
            owners.setdefault(id(module.weight), []).append(name)
    for names in owners.values():
        if len(names) > 1:
            known = [n for n in names if n in ties.parent]
            ties.pin(known, f"its weights are shared by {', '.join(names)}")


def _groups(order: list[str], ties: Ties) -> list[ChannelGroup]:
    members: dict[str, list[str]] = {}
    for name in order:
        members.setdefault(ties.root(name), []).append(name)
    groups = []
    for names in members.values():
        channels = ties.sizes[names[0]]
        step = math.lcm(*(ties.steps.get(n, 1) for n in names))
        pinned = next((n for n in names if n in ties.pins), None)
        reason = "" if pinned is None else ties.pins[pinned]
        if pinned not in (None, names[0]):
            reason = f"tied to '{pinned}': {reason}"
        if not reason and (channels % step or channels <= step):
            reason = f"{channels} channels can't be cut in blocks of {step}"
        if not reason and any(ties.sizes[n] != channels for n in names):
            reason = "layers of different widths are tied here"
        if channels % step:
            step = 1
        groups.append(ChannelGroup(names[0], tuple(names), channels, step, not reason, reason))
    return groups
