"""How the sizes of each layer follow the channel groups, from the labels of its tensors."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from evaluators.slicing.channel_units import UnitGroup
from evaluators.tracing.channel_labels import LabelFlow, Numbers
from evaluators.tracing.program import Value
from evaluators.tracing.traced_layer import TracedLayer
from hardware import ChannelGroup, Layer
from hardware.ir.layer import LayerCut


class Sizes:
    """Counts the entries that each unit of a group takes along the axes of values.

    Args:
        flow: the labels of a program.
        classes: by label, from ``flow.settle()``.
        groups: from `unit_groups`.
        members: the classes of each group's units.
    """

    def __init__(
        self,
        flow: LabelFlow,
        classes: Numbers,
        groups: Sequence[UnitGroup],
        members: Sequence[Numbers],
    ) -> None:
        self.flow, self.classes = flow, classes
        self.groups: Sequence[UnitGroup] = groups
        self.owner = np.full(len(classes), -1, dtype=np.int64)
        for g, values in enumerate(members):
            self.owner[values] = g
        self.known: dict[tuple[Value, int], list[tuple[int, int]]] = {}
        self.uneven: dict[int, str] = {}

    def along(self, value: Value, axis: int) -> list[tuple[int, int]]:
        """Index of each group that lies along an axis, with its entries per unit."""
        key = (value, axis)
        if key not in self.known:
            self.known[key] = self._count(value, axis)
        return self.known[key]

    def _count(self, value: Value, axis: int) -> list[tuple[int, int]]:
        labels = self.flow.labels.get(value)
        if labels is None or axis < 0 or labels.shape[axis] == 1:
            return []
        own = self.classes[labels.numpy()]
        lead = np.moveaxis(own, axis, 0).reshape(own.shape[axis], -1)[:, 0]
        rest = np.moveaxis(own, axis, 0).reshape(own.shape[axis], -1)
        if not (rest == lead[:, None]).all():
            return []
        found = []
        owners = np.where(lead > 0, self.owner[lead], -1)
        for g in np.unique(owners[owners >= 0]).tolist():
            counts = Counter(lead[owners == g].tolist())
            if len(counts) < self.groups[g].units or len(set(counts.values())) > 1:
                self.uneven.setdefault(
                    g, f"'{value.name}' holds some of its channels more often than others"
                )
            found.append((g, max(counts.values())))
        return found


def with_cuts(traced: Sequence[TracedLayer], sizes: Sizes) -> list[Layer]:
    """The layers with their cuts, by the names of all groups that may lose units."""
    cuts = [_cuts(one, sizes) for one in traced]
    return [
        dataclasses.replace(
            one.layer,
            cuts=tuple(
                LayerCut(what, dim, sizes.groups[g].name, size * sizes.groups[g].step)
                for what, dim, g, size in found
                if not sizes.groups[g].reason and g not in sizes.uneven
            ),
        )
        for one, found in zip(traced, cuts, strict=True)
    ]


def _cuts(one: TracedLayer, sizes: Sizes) -> list[tuple[str, int, int, int]]:
    found: list[tuple[str, int, int, int]] = []
    layer = one.layer
    for what, value, axes, shape in (
        ("in", one.source, one.in_axes, layer.in_shape),
        ("out", one.target, one.out_axes, layer.out_shape),
    ):
        for dim, axis in enumerate(axes):
            # Where examples are merged with the axis, it holds each channel once for each.
            times = max(1, value.shape[axis] // shape[dim]) if axis >= 0 else 1
            found += [(what, dim, g, n // times) for g, n in sizes.along(value, axis)]
    if layer.groups > 1 and layer.groups == layer.in_channels:
        # Each filter of a depthwise convolution reads one channel, and goes with it.
        found += [("groups", 0, g, n) for what, dim, g, n in found if (what, dim) == ("in", 0)]
    numbers: Counter[int] = Counter()
    for value in one.constants:
        for axis, size in enumerate(value.shape):
            for g, n in _of_parameter(sizes, value, axis):
                numbers[g] += n * math.prod(value.shape) // size
    return found + [("params", 0, g, n) for g, n in numbers.items()]


def _of_parameter(sizes: Sizes, value: Value, axis: int) -> list[tuple[int, int]]:
    for record in sizes.flow.records:
        if record.value is value and record.axis == axis:
            owners = sizes.owner[sizes.classes[record.labels]]
            return [
                (g, int((owners == g).sum()) // sizes.groups[g].units)
                for g in np.unique(owners[owners >= 0]).tolist()
            ]
    return []


def channel_groups(traced: Sequence[TracedLayer], sizes: Sizes) -> list[ChannelGroup]:
    """The groups as the search sees them: their channels are the outputs of their first layer."""
    first = {one.layer.name: one for one in reversed(traced)}
    found = []
    for i, group in enumerate(sizes.groups):
        reason = group.reason or sizes.uneven.get(i, "")
        lead = first[group.name]
        rows = [n for axis in lead.out_axes for g, n in sizes.along(lead.target, axis) if g == i]
        if reason or not rows:
            channels, step = lead.layer.out_channels, 1
            reason = reason or "its channels don't reach the layer's output"
        else:
            channels, step = group.units * rows[0], rows[0] * group.step
        found.append(ChannelGroup(group.name, group.layers, channels, step, not reason, reason))
    return found
