"""`<layer>.w_scheme`: the values that weights take, uniform steps or powers of two."""

from __future__ import annotations

from collections.abc import Sequence

from hardware.ir.factorization import changed
from hardware.ir.finite import shortened
from hardware.ir.gene_kinds.registry import GeneKind, Params, Place
from hardware.ir.layer import POWER_OF_TWO, UNIFORM, W_SCHEMES, Layer

LEAST_SCHEME_BITS = 3
"""At 2 bits powers of two are the same three values as uniform steps: minus one, zero, one."""


def read_scheme(params: Params, key: str, w_bits: int) -> str:
    """Return the scheme that the weights have: at 2 bits both are one, called uniform.

    Raises:
        ValueError: there is no such scheme, or none of powers of two at this width.
    """
    return _at_width(_check(params.get(key, UNIFORM), key), key, w_bits)


def _check(value: object, key: str) -> str:
    if not isinstance(value, str) or value not in W_SCHEMES:
        raise ValueError(f"{key}={shortened(value)} must be one of {', '.join(W_SCHEMES)}")
    return value


def _at_width(scheme: str, key: str, w_bits: int) -> str:
    if scheme == POWER_OF_TWO and not 2 <= w_bits <= 8:
        raise ValueError(f"{key}={scheme!r} needs weights of 2 to 8 bits, not {w_bits}")
    return UNIFORM if w_bits < LEAST_SCHEME_BITS else scheme


def _change(layer: Layer, scheme: str) -> Layer:
    key = W_SCHEME.key(layer.name)
    return changed(layer, w_scheme=_at_width(scheme, key, layer.w_bits))


def _offer(place: Place) -> Sequence[object]:
    return W_SCHEMES if max(place.weight_bits) >= LEAST_SCHEME_BITS else ()


W_SCHEME = GeneKind(
    name="w_scheme",
    scope="layer",
    label="weight scheme",
    neutral=UNIFORM,
    extra="scheme",
    unpacks=True,
    value_labels={UNIFORM: "uni", POWER_OF_TWO: "2ⁿ"},
    check=_check,
    offer=_offer,
    change=_change,
)
