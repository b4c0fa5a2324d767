"""A gene kind in one file: `<layer>.bias`, whether a linear layer keeps its bias."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hardware import Layer
from hardware.ir.factorization import changed
from hardware.ir.gene_kinds import GeneKind, Place


def _check(value: object, key: str) -> int:
    if value not in (0, 1):
        raise ValueError(f"{key}={value!r} must be 0 (no bias) or 1")
    return int(value == 1)


def _offer(place: Place) -> Sequence[int]:
    has_bias = place.layer is not None and place.layer.op == "linear" and place.layer.bias
    return (0, 1) if has_bias else ()


def _change(layer: Layer, value: int) -> Layer:
    return changed(layer, bias=layer.bias and bool(value))


def _compress(module: nn.Module, value: int) -> None:
    if not value:
        module.bias = None


BIAS = GeneKind(
    name="bias",
    scope="layer",
    label="bias kept",
    neutral=1,
    strongest=0,
    check=_check,
    offer=_offer,
    change=_change,
    extra="bias",
    corners={"least_bits": "low", "no_bias": "low"},
    tried=(0,),
    compress=_compress,
)
