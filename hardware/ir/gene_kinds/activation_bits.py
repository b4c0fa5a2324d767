"""`<layer>.a_bits`: bits of the activations that go into a layer."""

from __future__ import annotations

from hardware.ir.gene_kinds.registry import GeneKind
from hardware.ir.gene_kinds.weight_bits import LEAST_BITS, UNCOMPRESSED_BITS
from hardware.ir.layer import check_bits

A_BITS = GeneKind(
    name="a_bits",
    scope="layer",
    label="activation bits",
    short_label="a bits",
    neutral=UNCOMPRESSED_BITS,
    strongest=LEAST_BITS,
    check=check_bits,
    offer=lambda place: place.activation_bits,
)
