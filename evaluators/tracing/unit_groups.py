"""Groups of units from the labels that a program's channels carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from evaluators.slicing.channel_units import Cut, UnitGroup
from evaluators.tracing.channel_labels import LabelFlow, Numbers, Record
from evaluators.tracing.program import Operation, Value

ONE_UNIT = "all its channels go together"


def unit_groups(
    flow: LabelFlow, classes: Numbers, names: Mapping[Operation, str]
) -> tuple[list[UnitGroup], list[Numbers]]:
    """Classes that are alike in every parameter, as groups; those that stay whole with a reason.

    Args:
        flow: the labels of a program.
        classes: by label, from ``flow.settle()``.
        names: of the layer that each weighted operation is; others make no group.

    Returns:
        The groups, and the classes of the units of each.
    """
    reasons = flow.pinned(classes)
    lead, alike = _alike(flow, classes, names, reasons)
    for members in alike.values():
        members.sort(key=lambda value: lead[value])
    ordered = sorted(alike.values(), key=lambda members: lead[members[0]])
    groups = _Gathered(flow.records, classes, ordered, names, flow.program.constants).groups(
        [reasons.get(members[0], "") for members in ordered]
    )
    chosen = _named_apart(groups)
    return [g for _, g in chosen], [np.array(ordered[i], dtype=np.int64) for i, _ in chosen]


def _alike(
    flow: LabelFlow,
    classes: Numbers,
    names: Mapping[Operation, str],
    reasons: Mapping[int, str],
) -> tuple[dict[int, tuple[int, int]], dict[tuple[object, ...], list[int]]]:
    """Where each class is made first, and the classes that lie alike in all parameters."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    lead: dict[int, tuple[int, int]] = {}
    for i, record in enumerate(flow.records):
        values, first, counts = np.unique(
            classes[record.labels], return_index=True, return_counts=True
        )
        makes = record.produces and record.operation in names
        for value, start, count in zip(
            values.tolist(), first.tolist(), counts.tolist(), strict=True
        ):
            if value > 0:
                found[value].append((i, count))
                if makes:
                    lead.setdefault(value, (i, start))
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for value, (record_index, _) in lead.items():
        reason = reasons.get(value)
        key = tuple(found[value]) if reason is None else (reason, record_index)
        alike[key].append(value)
    return lead, alike


class _Gathered:
    """The places of each group's units in all parameters, in one pass over the records."""

    def __init__(
        self,
        records: list[Record],
        classes: Numbers,
        ordered: list[list[int]],
        names: Mapping[Operation, str],
        constants: Mapping[Value, str],
    ) -> None:
        self.units = [len(members) for members in ordered]
        group_of = np.full(len(classes), -1, dtype=np.int64)
        place_of = np.zeros(len(classes), dtype=np.int64)
        for g, members in enumerate(ordered):
            group_of[members] = g
            place_of[members] = np.arange(len(members))
        self.layers: list[dict[str, None]] = [{} for _ in ordered]
        self.places: list[dict[tuple[str, int], tuple[list[list[int]], bool]]] = [
            {} for _ in ordered
        ]
        for record in records:
            own = classes[record.labels]
            owners = np.where(own > 0, group_of[own], -1)
            for g in np.unique(owners[owners >= 0]).tolist():
                if record.produces and record.operation in names:
                    self.layers[g][names[record.operation]] = None
                index = np.flatnonzero(owners == g)
                rows: list[list[int]] = [[] for _ in range(self.units[g])]
                for entry, unit in zip(index.tolist(), place_of[own[index]].tolist(), strict=True):
                    rows[unit].append(entry)
                key = (constants[record.value], record.axis)
                known = self.places[g].get(key)
                self.places[g][key] = (rows, record.produces or (known is not None and known[1]))

    def groups(self, reasons: list[str]) -> list[UnitGroup]:
        found = []
        for g, units in enumerate(self.units):
            layers = tuple(self.layers[g])
            cuts = tuple(
                Cut(name, axis, tuple(map(tuple, rows)), produces)
                for (name, axis), (rows, produces) in self.places[g].items()
            )
            reason = reasons[g] or (ONE_UNIT if units == 1 else "")
            found.append(UnitGroup(layers[0], layers, units, cuts, 1, reason))
        return found


def _named_apart(groups: list[UnitGroup]) -> list[tuple[int, UnitGroup]]:
    """Each layer in one group: the one with most units, those that can be cut first."""
    taken: set[str] = set()
    order = sorted(range(len(groups)), key=lambda i: (groups[i].reason != "", -groups[i].units))
    kept: dict[int, UnitGroup] = {}
    for i in order:
        group = groups[i]
        layers = tuple(name for name in group.layers if name not in taken)
        if layers:
            taken.update(layers)
            kept[i] = UnitGroup(
                layers[0], layers, group.units, group.cuts, group.step, group.reason
            )
    return [(i, kept[i]) for i in sorted(kept)]
