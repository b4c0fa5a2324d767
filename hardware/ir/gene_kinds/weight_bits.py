"""`<layer>.w_bits`: bits of a layer's weights."""

from __future__ import annotations

from hardware.ir.gene_kinds.registry import GeneKind, Params
from hardware.ir.layer import BIT_WIDTHS, check_bits

UNCOMPRESSED_BITS = 8
"""What a missing gene means: int8 is what a network is before the search compresses it."""

LEAST_BITS = 2
"""The narrowest width that is searched as a rule; what is narrower is shown like it."""


def read_bits(params: Params, key: str) -> int:
    """Return a bit-width, 8 if the gene is missing.

    Raises:
        ValueError: it is none.
    """
    value = params.get(key, UNCOMPRESSED_BITS)
    return value if type(value) is int and value in BIT_WIDTHS else check_bits(value, key)


W_BITS = GeneKind(
    name="w_bits",
    scope="layer",
    label="weight bits",
    short_label="w bits",
    neutral=UNCOMPRESSED_BITS,
    strongest=LEAST_BITS,
    check=check_bits,
    offer=lambda place: place.weight_bits,
)
