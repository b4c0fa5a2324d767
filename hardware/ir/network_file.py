"""How a network lies in a file: JSON, every part of it named where it cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from hardware.ir.finite import shortened
from hardware.ir.layer import UNIFORM, ChannelGroup, Layer

FORMAT = 1
"""Of network files; it grows when older versions cannot read what is written."""

_KEYS = ("name", "channel_multiple", "metadata", "layers", "groups")

Part = TypeVar("Part", Layer, ChannelGroup)


def read_json(text: str) -> dict[str, Any]:
    """Return a network file's contents, none of whose parts are missing.

    Raises:
        ValueError: no network JSON, another format, or a part that is missing.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a network file: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(
            f"not a network file of format {FORMAT}; write it again with `joint-ga space`"
        )
    if missing := [key for key in _KEYS if key not in data]:
        raise ValueError(f"damaged network file: {missing[0]!r} is missing")
    return data


def parts_of(kind: Callable[..., Part], entries: object, where: str) -> list[Part]:
    """Return layers or groups out of the dicts of their fields.

    Raises:
        ValueError: no list of dicts, or a field that is wrong, unknown or missing.
    """
    if not isinstance(entries, list):
        raise ValueError(f"damaged network file: {where}={shortened(entries)} must be a list")
    made: list[Part] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(
                f"damaged network file: {where}[{index}]={shortened(entry)} must be an object"
            )
        try:
            made.append(kind(**entry))
        except TypeError as error:  # a field that is missing or that there isn't
            raise ValueError(f"damaged network file: {where}[{index}]: {error}") from None
    return made


def as_dict(layer: Layer) -> dict[str, object]:
    """Return a layer's fields; those of optional genes are left out where older files have none."""
    fields = asdict(layer)
    return {
        k: v for k, v in fields.items() if (k, v) not in (("w_scheme", UNIFORM), ("sparsity", 0.0))
    }
