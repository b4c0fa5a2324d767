"""`<group>.prune`: the fraction of a channel group's channels that is removed."""

from __future__ import annotations

from collections.abc import Sequence

from hardware.ir.finite import shortened
from hardware.ir.gene_kinds.registry import GeneKind, Place
from hardware.ir.layer import is_number

# Prune ratios on offer per group, in eighths up to 7/8; a group of very many channels gets
# sixteenths, since one step of an eighth would already remove dozens of them. A choice.
_COARSE = 8
_FINE = 16
_WIDE = 128


def check_ratio(value: object, key: str) -> float:
    """Return a prune ratio.

    Raises:
        ValueError: it is no number in [0, 1).
    """
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"{key}={shortened(value)} must be a number in [0, 1): "
            "the fraction of channels to remove"
        )
    return value


def _offer(place: Place) -> Sequence[object]:
    """Ratios that leave distinct numbers of channels, from 0 on."""
    channels = place.layer.out_channels if place.layer is not None else 0
    parts = _FINE if channels >= _WIDE else _COARSE
    ratios: list[float] = []
    seen: set[int] = set()
    for i in range(parts):
        ratio = i / parts
        left = place.channels_left(ratio)
        if ratio <= place.max_prune and left not in seen:
            seen.add(left)
            ratios.append(ratio)
    return ratios


PRUNE = GeneKind(
    name="prune",
    scope="group",
    label="pruned",
    neutral=0.0,
    strongest=1.0,
    percent=True,
    check=check_ratio,
    offer=_offer,
)
