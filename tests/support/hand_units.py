"""Groups of units written by hand, for networks whose channels take unusual ways."""

from __future__ import annotations

from collections.abc import Iterable

from evaluators.slicing.channel_units import Cut, UnitGroup


def rows(units: int, each: int = 1, start: int = 0, parts: int = 1, apart: int = 0):
    """Entries of units that lie one after the other, in ``parts`` copies ``apart`` entries away."""
    return tuple(
        tuple(start + p * apart + u * each + i for p in range(parts) for i in range(each))
        for u in range(units)
    )


def makes(indices, *names: str, axis: int = 0) -> list[Cut]:
    return [Cut(name, axis, indices, True) for name in names]


def reads(indices, *names: str, axis: int = 1) -> list[Cut]:
    return [Cut(name, axis, indices, False) for name in names]


def layer(name: str, indices, bias: bool = True) -> list[Cut]:
    return makes(indices, f"{name}.weight", *([f"{name}.bias"] if bias else []))


def norm(name: str, indices) -> list[Cut]:
    return makes(
        indices, *(f"{name}.{n}" for n in ("weight", "bias", "running_mean", "running_var"))
    )


def group(name: str, cuts: Iterable[Cut], *, layers: Iterable[str] = (), step: int = 1):
    cuts = tuple(cuts)
    return UnitGroup(name, tuple(layers) or (name,), len(cuts[0].indices), cuts, step)
