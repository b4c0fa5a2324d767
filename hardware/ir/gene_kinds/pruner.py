"""`pruner`: the criterion by which all channel groups choose the channels that go."""

from __future__ import annotations

from collections.abc import Sequence

from hardware.ir.finite import shortened
from hardware.ir.gene_kinds.registry import GeneKind, Params, Place

PRUNERS = ("l1", "l2", "fpgm", "taylor", "slim", "movement")
"""Criteria by which channels are chosen; `evaluators` maps them to NNI's pruners."""

PRUNERS_WITHOUT_DATA = ("l1", "l2", "fpgm")
"""Those that look at weights alone."""


def read_pruner(params: Params) -> str | None:
    """Return the pruner that a chromosome names, None if it names none.

    Raises:
        ValueError: there is no such pruner.
    """
    return _check(params.get(PRUNER.name), PRUNER.name)


def _check(value: object, key: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in PRUNERS:
        raise ValueError(f"{key}={shortened(value)} must be one of {', '.join(PRUNERS)}")
    return value


def _offer(place: Place) -> Sequence[object]:
    return PRUNERS if place.prunes else ()


PRUNER = GeneKind(
    name="pruner", scope="network", label="pruner", extra="pruner", check=_check, offer=_offer
)
