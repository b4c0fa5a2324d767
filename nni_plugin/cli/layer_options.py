"""Options that say what may be done to single layers: ``--keep``, ``--bits`` and ``--ratios``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hardware.ir.restrictions import Restrictions, Values

__all__ = ["Bits", "Keep", "Ratios", "restrictions"]

Keep = Annotated[
    list[str] | None,
    typer.Option(help="Layers that stay whole, e.g. 'head.*' or ':first'; repeatable."),
]
Bits = Annotated[
    list[str] | None,
    typer.Option(help="Bits of layers, e.g. 'head.*=8' or '*.a_bits=4,8'; repeatable."),
]
Ratios = Annotated[
    list[str] | None,
    typer.Option(help="Prune ratios of layers, e.g. 'layer4.*=0,0.25'; repeatable."),
]


def restrictions(
    keep: Sequence[str] | None, bits: Sequence[str] | None, ratios: Sequence[str] | None
) -> Restrictions:
    """What the three options decide.

    Raises:
        ValueError: one can't be read; the message shows how to write it.
    """
    from hardware.ir.restrictions import Restrictions

    return Restrictions(keep or (), _by_pattern(bits, "--bits"), _by_pattern(ratios, "--ratios"))


def _by_pattern(options: Sequence[str] | None, option: str) -> dict[str, Values]:
    """Options like ``head.*=4,8``, by their patterns."""
    found: dict[str, Values] = {}
    for text in options or ():
        pattern, equals, values = text.rpartition("=")
        try:
            numbers = [float(x) if "." in x else int(x) for x in values.split(",")]
        except ValueError:
            numbers = []
        if not (pattern and equals and numbers):
            raise ValueError(f"{option} {text!r}: write PATTERN=VALUE,VALUE, as in 'head.*=8'")
        found[pattern] = numbers
    return found
