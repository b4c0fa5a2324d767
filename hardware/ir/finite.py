"""Numbers that costs can be calculated with, and how any value looks in a message."""

from __future__ import annotations

import math
from typing import TypeGuard

_LONGEST = 60

LARGEST_SIZE = 2**31 - 1
"""Of a dimension, a number of channels or a count of bytes: what a 32-bit kernel can index."""


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether a value is an int or a float, no bool, NaN or infinity, and fits into a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_size(value: object, low: int = 1) -> TypeGuard[int]:
    """Whether a value is a whole number from `low` to `LARGEST_SIZE`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= LARGEST_SIZE


def shortened(value: object) -> str:
    """Return the `repr` of a value, cut in the middle where it is long."""
    try:
        text = repr(value)
    # Python prints no whole number of more than 4300 digits, and nothing nested very deep.
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__} too large to print>"
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}...{text[-half:]}"
