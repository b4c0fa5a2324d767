"""Sizes that modules keep as plain numbers: found by their values, set when units go.

Code such as ``x.view(b, t, self.num_heads, self.head_dim)`` or ``x.split(self.sizes, 1)`` needs
other numbers in a thinner model. They lie in attributes of the modules around the pruned layers,
in lists and tuples there, and in config objects that modules hold.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from evaluators.slicing.channel_units import UnitGroup

_DEPTH = 3
"""Lists in configs in attributes; deeper ones hold no sizes that code reads."""
_LONGEST = 64
"""Entries of a list that are looked at; longer ones are data."""


@dataclass(frozen=True)
class SizeAttribute:
    """A number in a module that follows how many units a group has.

    Attributes:
        module: qualified name of the module, "" for the model.
        path: the attribute, then keys, indices or attributes inside of it.
        group: whose units it counts.
        per_unit: what it loses with each unit.
    """

    module: str
    path: tuple[str | int, ...]
    group: str
    per_unit: int

    def __str__(self) -> str:
        inside = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path)
        return f"{self.module}{inside}".lstrip(".")


def set_sizes(
    model: nn.Module, attributes: Sequence[SizeAttribute], removed: Mapping[str, int]
) -> None:
    """Lowers the numbers that follow the removed units, in place.

    Lists, dicts and config objects are copied first: others may share them.

    Args:
        model: holds the modules.
        attributes: the numbers.
        removed: units by group.
    """
    owned: dict[tuple[str, tuple[str | int, ...]], object] = {}
    for attribute in attributes:
        loss = removed.get(attribute.group, 0) * attribute.per_unit
        if not loss:
            continue
        holder: Any = model.get_submodule(attribute.module)
        for depth, step in enumerate(attribute.path[:-1], 1):
            key = (attribute.module, attribute.path[:depth])
            if key not in owned:
                owned[key] = _own(_read(holder, step))
                _write(holder, step, owned[key])
            holder = owned[key]
        last = attribute.path[-1]
        _write(holder, last, _read(holder, last) - loss)
    for (name, path), value in sorted(owned.items(), key=lambda item: -len(item[0][1])):
        # Tuples were opened to be written to.
        if isinstance(value, _Opened):
            target: Any = model.get_submodule(name)
            for depth in range(1, len(path)):
                target = owned[name, path[:depth]]
            _write(target, path[-1], value.closed())


class _Opened(list[object]):
    """A tuple's entries while they change."""

    def __init__(self, values: tuple[object, ...]) -> None:
        super().__init__(values)
        self.kind: Any = type(values)

    def closed(self) -> object:
        made: object = self.kind(*self) if hasattr(self.kind, "_fields") else self.kind(self)
        return made


def _own(value: object) -> object:
    return _Opened(value) if isinstance(value, tuple) else copy.copy(value)


def _read(holder: Any, step: str | int) -> Any:
    return holder[step] if _is_container(holder) else getattr(holder, str(step))


def _is_container(holder: object) -> bool:
    """Whether numbers stand inside by key; those of a list of modules are its own."""
    return hasattr(holder, "__getitem__") and not isinstance(holder, nn.Module)


def _write(holder: Any, step: str | int, value: object) -> None:
    if _is_container(holder):
        holder[step] = value
    else:
        setattr(holder, str(step), value)


def candidates(
    model: nn.Module, group: UnitGroup, failed_in: Sequence[str] = ()
) -> list[SizeAttribute]:
    """Numbers around a group's layers that may count its units, the nearest modules first.

    Args:
        model: whole.
        group: its cuts say which modules and sizes are meant.
        failed_in: further modules to look into: those whose code failed on the thinner model.
    """
    per_units, whole = _per_units(group), _shared_axes(model, group)
    found = []
    for name in dict.fromkeys((*failed_in, *_modules_around(model, group))):
        module = model.get_submodule(name)
        if type(module).__module__.startswith("torch.nn.") and [*module.parameters(False)]:
            # Its sizes are set by what it is.
            continue
        for path, value in _numbers(module):
            if value % group.units == 0 and value // group.units in per_units:
                found.append(SizeAttribute(name, path, group.name, value // group.units))
            elif value in whole:
                found.append(SizeAttribute(name, path, group.name, whole[value]))
    return found


def _per_units(group: UnitGroup) -> set[int]:
    """What a number may lose with each unit: entries of an axis, or whole divisors of them."""
    found = {1}
    for cut in group.cuts:
        each = len(cut.indices[0])
        found.update(d for d in range(1, each + 1) if each % d == 0)
    return found


def _shared_axes(model: nn.Module, group: UnitGroup) -> dict[int, int]:
    """Entries for each unit by an axis' whole size, where others lie along it too."""
    found = {}
    for cut in group.cuts:
        owner, _, attribute = cut.parameter.rpartition(".")
        try:
            tensor = getattr(model.get_submodule(owner), attribute, None)
        except AttributeError:
            continue
        if isinstance(tensor, Tensor) and tensor.dim() > cut.axis:
            each = len(cut.indices[0])
            if tensor.shape[cut.axis] > each * group.units:
                found[tensor.shape[cut.axis]] = each
    return found


def _modules_around(model: nn.Module, group: UnitGroup) -> list[str]:
    """Owners of the group's tensors and the modules that they are in, inner ones first.

    Modules without parameters beside the owners come too: one that only reshapes may be there.
    """
    known = dict(model.named_modules())
    names: dict[str, None] = {}
    for cut in group.cuts:
        name = cut.parameter
        while name:
            name = name.rpartition(".")[0]
            if name in known:
                names[name] = None
                for child, module in known[name].named_children():
                    if next(module.parameters(), None) is None:
                        names[f"{name}.{child}" if name else child] = None
    return sorted(names, key=lambda n: -n.count(".") - bool(n))


def _numbers(module: nn.Module) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Every whole number above 1 in a module's own attributes, with its path."""
    for name, value in vars(module).items():
        if not name.startswith("_") or _is_number(value):
            yield from _within((name,), value)


def _within(
    path: tuple[str | int, ...], value: object
) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(value, int):
        if _is_number(value):
            yield path, value
        return
    if len(path) > _DEPTH or isinstance(value, (str, bytes, nn.Module, Tensor, type)):
        return
    parts: Iterator[tuple[str | int, object]]
    if isinstance(value, (list, tuple)):
        parts = iter(enumerate(value)) if len(value) <= _LONGEST else iter(())
    elif isinstance(value, dict):
        parts = ((k, v) for k, v in value.items() if isinstance(k, (str, int)))
    elif hasattr(value, "__dict__") and not callable(value):
        # Settings of a package: a dataclass, a namespace, a PretrainedConfig.
        parts = iter(vars(value).items())
    else:
        return
    for key, part in parts:
        yield from _within((*path, key), part)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
