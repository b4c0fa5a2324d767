"""What a trial reported, checked and flattened for the optimizer."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import TypeGuard

UID = "uid"
DEFAULT = "default"

COSTS = ("size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops")
"""What a network costs on a device; ``nni_plugin.trial`` reports it beside the task's metric."""


class UnusableMetricsError(ValueError):
    """A trial's report that can't be ranked.

    Attributes:
        missing: the required metrics that the report doesn't hold at all.
        reported: the names that it does hold.
    """

    def __init__(
        self, message: str, missing: Iterable[str] = (), reported: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.missing = frozenset(missing)
        self.reported = tuple(reported)


def read_metrics(value: object, required: Iterable[str]) -> dict[str, float]:
    """The finite numbers of a trial's report, without ``uid``.

    Args:
        value: what ``nni.report_final_result`` was given: a number (it counts as ``default``) or
            a dict of numbers. Entries that are no finite number are left out.
        required: metrics that objectives and constraints need.

    Raises:
        UnusableMetricsError: a required metric is missing, NaN, infinite or no number.
    """
    if is_number(value):
        value = {DEFAULT: value}
    if not isinstance(value, Mapping):
        raise UnusableMetricsError(
            f"the trial reported {_short(value)}, which is neither a number nor a dict of numbers"
        )
    names = [str(name) for name in value if name != UID]
    missing = [name for name in required if name not in value]
    if missing:
        raise UnusableMetricsError(
            f"the trial did not report {', '.join(map(repr, missing))}; it reported "
            f"{', '.join(names) or 'nothing'}",
            missing,
            names,
        )
    for name in required:
        if not is_number(value[name]) or not math.isfinite(value[name]):
            raise UnusableMetricsError(
                f"metric '{name}' is {_short(value[name])}; a finite number is needed", (), names
            )
    return {
        str(name): _plain(x)
        for name, x in value.items()
        if name != UID and is_number(x) and math.isfinite(x)
    }


def reported_uid(value: object) -> int | None:
    """The ``uid`` that a report echoes, if it does."""
    uid = value.get(UID) if isinstance(value, Mapping) else None
    return int(uid) if isinstance(uid, numbers.Integral) else None


def is_number(value: object) -> TypeGuard[float]:
    """A real number, NumPy's included; not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _plain(value: float) -> float:
    # Whole numbers stay whole: a macs count of 1e9 is no float in the journal.
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
