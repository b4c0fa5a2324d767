"""Numbers that a search can calculate with, and how any value looks in a message."""

from __future__ import annotations

import math
import numbers
from typing import TypeGuard

_LONGEST = 60


def as_finite(value: object) -> float | None:
    """A real number as a float; None for a bool, NaN, infinity, or one too large for a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether a value is an int or a float that `as_finite` takes."""
    return isinstance(value, (int, float)) and as_finite(value) is not None


def shortened(value: object) -> str:
    """The `repr` of a value, cut in the middle where it is long."""
    try:
        text = repr(value)
    # Python prints no whole number of more than 4300 digits, and nothing nested very deep.
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__} too large to print>"
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}...{text[-half:]}"
