"""`<layer>.rank`: the share of its full rank that a factorized layer keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hardware.ir.factorization import factorized, full_rank
from hardware.ir.finite import shortened
from hardware.ir.gene_kinds.registry import LARGE, GeneKind, Place
from hardware.ir.layer import Layer, is_number

# Shares on offer, in eighths: a choice, the same steps as prune ratios.
_PARTS = 8


def _check(value: object, key: str) -> float:
    if not is_number(value) or not 0 < value <= 1:
        raise ValueError(
            f"{key}={shortened(value)} must be a number in (0, 1]: "
            "the share of the full rank to keep"
        )
    return float(value)


def _rewrite(layers: Sequence[Layer], shares: Mapping[str, float]) -> Sequence[Layer]:
    """The named layers in two: of a full rank, `max(1, floor(full share + 0.5))` are kept."""
    ranks: dict[str, int] = {}
    for layer in layers:
        if layer.name not in shares:
            continue
        full = full_rank(layer)
        rank = max(1, math.floor(full * shares[layer.name] + 0.5))
        if rank < full:
            # A product of full rank would be the layer itself in more bytes.
            ranks[layer.name] = rank
    return factorized(layers, ranks) if ranks else layers


def _offer(place: Place) -> Sequence[object]:
    if place.layer is None or place.layer.weights < LARGE:
        return ()
    shares = (i / _PARTS for i in range(1, _PARTS))
    return [*(share for share in shares if place.saves(share)), 1.0]


RANK = GeneKind(
    name="rank",
    scope="matrix",
    label="rank kept",
    neutral=1.0,
    strongest=0.0,
    percent=True,
    extra="rank",
    check=_check,
    offer=_offer,
    rewrite=_rewrite,
)
