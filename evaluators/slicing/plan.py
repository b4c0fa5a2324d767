"""What can be removed from a model, as a trial reads it: units and the numbers that follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from evaluators.slicing.attribute_repair import SizeAttribute
from evaluators.slicing.channel_units import Cut, UnitGroup
from evaluators.slicing.remove_units import Places, PruneError, largest_index
from hardware import Network

KEY = "units"
"""Under which a network's metadata keep a plan."""

Runs = list[list[int]]


@dataclass(frozen=True)
class UnitPlan:
    """Groups of units that were seen to work.

    Attributes:
        groups: all groups of the model, those with a reason to stay whole among them.
        attributes: numbers in modules that follow the units.
    """

    groups: tuple[UnitGroup, ...]
    attributes: tuple[SizeAttribute, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The plan as JSON values; indices are runs of equal steps."""
        return {
            "groups": [
                {
                    "name": g.name,
                    "layers": list(g.layers),
                    "units": g.units,
                    "step": g.step,
                    "reason": g.reason,
                    # What stays whole needs none.
                    "cuts": [
                        [c.parameter, c.axis, int(c.produces), *_packed(c.indices)]
                        for c in (() if g.reason else g.cuts)
                    ],
                }
                for g in self.groups
            ],
            "attributes": [[a.module, list(a.path), a.group, a.per_unit] for a in self.attributes],
        }

    @classmethod
    def from_json(cls, data: object) -> UnitPlan:
        """Rebuilds a plan from `to_json`.

        Raises:
            ValueError: the values are no plan.
        """
        try:
            return cls(_groups(data), _attributes(data))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ValueError(
                f"the network file's {KEY!r} can't be read ({type(error).__name__}: {error}); "
                "write the file again with `joint-ga space`"
            ) from None

    def units(self, network: Network, kept: Mapping[str, int]) -> dict[str, int]:
        """Units to keep, for channels to keep: a head is several channels of the network's.

        Raises:
            ValueError: the plan hasn't a group, or channels are no whole number of units.
        """
        known = {group.name: group.units for group in self.groups}
        found = {}
        for name, count in kept.items():
            channels = network.group(name).channels
            if name not in known:
                raise ValueError(
                    f"the model has no channels '{name}' that go together, as the network's file "
                    "says; write the file again with `joint-ga space`"
                )
            found[name], rest = divmod(count * known[name], channels)
            if rest:
                raise ValueError(
                    f"group '{name}': {count} of {channels} channels are no whole number of its "
                    f"{known[name]} units"
                )
        return found

    def check(self, model: nn.Module) -> None:
        """Compares the plan with the tensors of a whole model.

        Raises:
            ValueError: a tensor is missing or too small: the plan is of another model.
        """
        places = Places(model)
        for group in self.groups:
            for cut in group.cuts:
                try:
                    place = places.find(cut.parameter)
                except PruneError as error:
                    raise ValueError(str(error)) from None
                if place is None or not cut.indices:
                    continue
                last, shape = largest_index(cut), tuple(place.tensor.shape)
                # The second axis of a grouped convolution counts the channels of all its groups.
                room = shape[cut.axis] if cut.axis < len(shape) else 0
                if cut.axis == 1:
                    room *= place.channel_groups
                if last >= room:
                    raise ValueError(
                        f"the network describes another model: '{cut.parameter}' has the shape "
                        f"{shape} in {type(model).__name__}, and entry {last} along axis "
                        f"{cut.axis} in the file; write it again with `joint-ga space`"
                    )


def _groups(data: object) -> tuple[UnitGroup, ...]:
    entries = data["groups"]  # type: ignore[index]  # checked by the caller's except
    return tuple(
        UnitGroup(
            str(e["name"]),
            tuple(map(str, e["layers"])),
            int(e["units"]),
            tuple(
                Cut(str(name), int(axis), _unpacked(base, offsets), bool(produces))
                for name, axis, produces, base, offsets in e["cuts"]
            ),
            int(e["step"]),
            str(e["reason"]),
        )
        for e in entries
    )


def _attributes(data: object) -> tuple[SizeAttribute, ...]:
    entries = data["attributes"]  # type: ignore[index]  # checked by the caller's except
    return tuple(
        SizeAttribute(
            str(module),
            tuple(p if isinstance(p, int) else str(p) for p in path),
            str(group),
            int(per_unit),
        )
        for module, path, group, per_unit in entries
    )


def _packed(indices: Sequence[Sequence[int]]) -> tuple[Runs, Runs | None]:
    """First entries of the units, and how the rest lies from there; None where units differ."""
    if not indices:
        return [], []
    if all(len(unit) == 1 for unit in indices):
        return _runs([unit[0] for unit in indices]), _runs([0])
    offsets = [i - indices[0][0] for i in indices[0]]
    if all([i - unit[0] for i in unit] == offsets for unit in indices):
        return _runs([unit[0] for unit in indices]), _runs(offsets)
    return [_flat(_runs(unit)) for unit in indices], None


def _unpacked(base: Runs, offsets: Runs | None) -> tuple[tuple[int, ...], ...]:
    if offsets is None:
        return tuple(tuple(_listed(_split(unit))) for unit in base)
    rest = _listed(offsets)
    return tuple(tuple(first + offset for offset in rest) for first in _listed(base))


def _runs(values: Sequence[int]) -> Runs:
    """Values as runs of ``[first, step, count]``."""
    if len(values) > 2 and (step := values[1] - values[0]):
        count = len(values)
        if list(values) == list(range(values[0], values[0] + step * count, step)):
            return [[values[0], step, count]]
    runs: Runs = []
    for value in values:
        if runs:
            first, step, count = runs[-1]
            if count == 1:
                runs[-1] = [first, value - first, 2]
                continue
            if value == first + step * count:
                runs[-1][2] += 1
                continue
        runs.append([value, 0, 1])
    return runs


def _listed(runs: Runs) -> list[int]:
    return [first + step * i for first, step, count in runs for i in range(count)]


def _flat(runs: Runs) -> list[int]:
    return [number for run in runs for number in run]


def _split(numbers: Sequence[int]) -> Runs:
    return [list(numbers[i : i + 3]) for i in range(0, len(numbers), 3)]


def stored_plan(metadata: Mapping[str, object]) -> UnitPlan | None:
    """The plan in a network's metadata; None in files of older versions."""
    data = metadata.get(KEY)
    return None if data is None else UnitPlan.from_json(data)
