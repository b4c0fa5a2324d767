"""Which numbers of modules to try together, likely ones first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from torch import nn

from evaluators.slicing.attribute_repair import SizeAttribute
from evaluators.slicing.channel_units import UnitGroup

_SIZES = re.compile(
    r"head|dim|size|width|channel|feature|hidden|inner|plane|unit|embed|split|chunk|filter|out|inp"
    r"|^n[a-z]?$|^[cdhkq]\d?$"
)
"""Words that names of sizes hold in public code."""


def attempts(
    model: nn.Module,
    group: UnitGroup,
    known: Sequence[SizeAttribute],
    found: Sequence[SizeAttribute],
    limit: int,
) -> Iterator[list[SizeAttribute]]:
    """Sets of numbers to try, at most ``limit`` of them, none twice.

    First what helped in a module of the same class, then all likely numbers of a module, each
    number alone, and pairs of likely ones.

    Args:
        model: holds the modules.
        group: whose units they follow.
        known: numbers that may count a group's units.
        found: numbers that helped for other groups.
        limit: of sets.
    """
    seen: set[frozenset[SizeAttribute]] = set()
    for chosen in _ordered(model, group, known, found):
        key = frozenset(chosen)
        if key and key not in seen and len({(a.module, a.path) for a in chosen}) == len(chosen):
            seen.add(key)
            yield chosen
        if len(seen) >= limit:
            return


def _ordered(
    model: nn.Module,
    group: UnitGroup,
    known: Sequence[SizeAttribute],
    found: Sequence[SizeAttribute],
) -> Iterator[list[SizeAttribute]]:
    yield [a for a in known if any(like(model, a, b) for b in found)]
    # A number as large as one unit, such as a head's width, stays as it is.
    widths = {len(cut.indices[0]) for cut in group.cuts}
    counts = [a for a in known if a.per_unit * group.units not in widths]
    for name in dict.fromkeys(a.module for a in counts):
        yield [a for a in counts if a.module == name and _SIZES.search(_word(a))]
    by_module: dict[str, list[SizeAttribute]] = {}
    for attribute in known:
        by_module.setdefault(attribute.module, []).append(attribute)
    named = [
        a
        for a in known
        if _SIZES.search(str(a.path[-1] if isinstance(a.path[-1], str) else a.path[0]))
    ]
    for attributes in by_module.values():
        yield [a for a in attributes if a in named]
        yield attributes
    yield named
    yield [*known]
    for attribute in (*named, *known):
        yield [attribute]
    yield from map(list, itertools.combinations(named, 2))


def _word(attribute: SizeAttribute) -> str:
    return next(p for p in reversed(attribute.path) if isinstance(p, str)).lower()


def like(model: nn.Module, one: SizeAttribute, other: SizeAttribute) -> bool:
    """Whether two numbers lie at one place in modules of one class."""
    return (
        one.path == other.path
        and one.per_unit == other.per_unit
        and type(model.get_submodule(one.module)) is type(model.get_submodule(other.module))
    )
