"""How a network lies in a file: JSON, every part of it named where it cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from hardware.ir.finite import shortened
from hardware.ir.layer import UNIFORM, ChannelGroup, Layer

FORMAT = 1
"""Of network files; it grows when older versions cannot read what is written."""

_KEYS = ("name", "channel_multiple", "metadata", "layers", "groups")

_PLAIN = {"w_scheme": UNIFORM, "sparsity": 0.0, "params": 0, "cuts": ()}

_ON_ONE_LINE = ("cuts", "attributes")

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


def written(data: Mapping[str, object]) -> str:
    """A network file's text: a line for each value, but one for all cuts of a layer or group."""
    lines: list[str] = []

    def held_back(value: object, key: str = "") -> object:
        if key in _ON_ONE_LINE:
            lines.append(json.dumps(value))
            return f"\0{len(lines) - 1}"
        if isinstance(value, Mapping):
            return {k: held_back(v, k) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [held_back(v) for v in value]
        return value

    text = json.dumps(held_back(data), indent=1)
    return re.sub(r'"\\u0000(\d+)"', lambda found: lines[int(found[1])], text) + "\n"


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


def read_allowed(allowed: object, genes: Container[str]) -> dict[str, tuple[object, ...]]:
    """Return the values left to some genes, of a network that has these genes.

    Raises:
        ValueError: no mapping, no values, or a gene that there isn't.
    """
    if not isinstance(allowed, Mapping):
        raise ValueError(f"allowed={shortened(allowed)} must be a mapping of genes to values")
    for key, values in allowed.items():
        if key not in genes:
            raise ValueError(f"allowed: {shortened(key)} names no gene of the network")
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ValueError(f"allowed: {key}={shortened(values)} must be a list of values")
    return {key: tuple(values) for key, values in allowed.items()}


def as_dict(layer: Layer) -> dict[str, object]:
    """Return a layer's fields; what older files have not is left out where it says nothing."""
    return {k: v for k, v in asdict(layer).items() if k not in _PLAIN or v != _PLAIN[k]}
