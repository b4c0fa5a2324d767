"""`<layer>.sparsity`: the fraction of a layer's weights that are zero."""

from __future__ import annotations

from collections.abc import Sequence

from hardware.ir.factorization import changed
from hardware.ir.finite import shortened
from hardware.ir.gene_kinds.registry import LARGE, GeneKind, Params, Place
from hardware.ir.layer import Layer, is_number

# Below a half, a bitmap of the zeros saves next to nothing at 4 bits.
_OFFERED = (0.5, 0.75, 0.875)


def read_sparsity(params: Params, key: str) -> float:
    """Return the fraction of a layer's weights that are zero, 0 if the gene is missing.

    Raises:
        ValueError: it is no number in [0, 1).
    """
    return _check(params.get(key, 0.0), key)


def _check(value: object, key: str) -> float:
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"{key}={shortened(value)} must be a number in [0, 1): "
            "the fraction of weights that are zero"
        )
    return float(value)


def _change(layer: Layer, share: float) -> Layer:
    return changed(layer, sparsity=share)


def _offer(place: Place) -> Sequence[object]:
    if place.layer is None or place.layer.weights < LARGE:
        return ()
    return [0.0, *(share for share in _OFFERED if place.saves(share))]


SPARSITY = GeneKind(
    name="sparsity",
    scope="layer",
    label="zeros",
    neutral=0.0,
    strongest=1.0,
    percent=True,
    extra="sparsity",
    unpacks=True,
    check=_check,
    offer=_offer,
    change=_change,
)
