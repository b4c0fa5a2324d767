"""What a gene may hold, read from trial parameters and checked, beside the prune ratios.

Genes that a space may leave out: `pruner`, and per layer `w_scheme`, `sparsity` and `rank`. A
missing one means the task's own pruner, uniform steps, dense weights, no factorization.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hardware.ir.layer import BIT_WIDTHS, POWER_OF_TWO, UNIFORM, W_SCHEMES, check_bits

PRUNER = "pruner"
"""Name of the gene that all channel groups share."""

PRUNERS = ("l1", "l2", "fpgm", "taylor", "slim", "movement")
"""Criteria by which channels are chosen; `evaluators` maps them to NNI's pruners."""

LEAST_SCHEME_BITS = 3
"""At 2 bits powers of two are the same three values as uniform steps: minus one, zero, one."""


def read_bits(params: Mapping[str, Any], key: str) -> int:
    """Return a bit-width, 8 if the gene is missing.

    Raises:
        ValueError: It is none.
    """
    value = params.get(key, 8)
    return value if type(value) is int and value in BIT_WIDTHS else check_bits(value, key)


def read_scheme(params: Mapping[str, Any], key: str, w_bits: int) -> str:
    """Return the scheme that the weights have: at 2 bits both are one, called uniform.

    Raises:
        ValueError: There is no such scheme, or none of powers of two at this width.
    """
    scheme = params.get(key, UNIFORM)
    if scheme not in W_SCHEMES:
        raise ValueError(f"{key}={scheme!r} must be one of {', '.join(W_SCHEMES)}")
    if scheme == POWER_OF_TWO and not 2 <= w_bits <= 8:
        raise ValueError(f"{key}={scheme!r} needs weights of 2 to 8 bits, not {w_bits}")
    return UNIFORM if w_bits < LEAST_SCHEME_BITS else str(scheme)


def read_sparsity(params: Mapping[str, Any], key: str) -> float:
    """Return the fraction of a layer's weights that are zero, 0 if the gene is missing.

    Raises:
        ValueError: It is no number in [0, 1).
    """
    value = params.get(key, 0.0)
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"{key}={value!r} must be a number in [0, 1): the fraction of weights that are zero"
        )
    return float(value)


def read_rank(params: Mapping[str, Any], key: str, full: int) -> int:
    """Return the rank to keep of `full`: `max(1, floor(full r + 0.5))`; `full` if it is missing.

    Raises:
        ValueError: It is no number in (0, 1].
    """
    value = params.get(key, 1.0)
    if not _is_number(value) or not 0 < value <= 1:
        raise ValueError(
            f"{key}={value!r} must be a number in (0, 1]: the share of the full rank to keep"
        )
    return max(1, math.floor(full * float(value) + 0.5))


def read_pruner(params: Mapping[str, Any]) -> str | None:
    """Return the pruner that a chromosome names, None if it names none.

    Raises:
        ValueError: There is no such pruner.
    """
    value = params.get(PRUNER)
    if value is not None and value not in PRUNERS:
        raise ValueError(f"{PRUNER}={value!r} must be one of {', '.join(PRUNERS)}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
