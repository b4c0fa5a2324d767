"""What a trial reported, checked and flattened for the optimizer."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from typing import TypeGuard

from ga.problem.finite import as_finite

UID = "uid"
DEFAULT = "default"
_LARGEST_WHOLE = 2**63

COSTS = ("size_kb", "flash_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops")
"""What a network costs on a device; ``nni_plugin.trial`` reports it beside the task's metric."""


_TEST_LOSS = 0.03
"""Share of a metric that test data may differ from validation data without a word: a choice."""


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
            f"the trial reported {shown(value)}, which is neither a number nor a dict of numbers"
        )
    names = [_printable(name) for name in value if name != UID]
    missing = [name for name in required if name not in value]
    if missing:
        raise UnusableMetricsError(
            f"the trial did not report {', '.join(map(repr, missing))}; it reported "
            f"{_cut(', '.join(names), 200) or 'nothing'}",
            missing,
            names,
        )
    for name in required:
        if not is_finite(value[name]):
            raise UnusableMetricsError(
                f"metric '{name}' is {shown(value[name])}; a finite number is needed", (), names
            )
    return {
        _printable(name): _plain(x) for name, x in value.items() if name != UID and is_finite(x)
    }


def reported_uid(value: object) -> int | None:
    """The ``uid`` that a report echoes, if it does."""
    uid = value.get(UID) if isinstance(value, Mapping) else None
    return int(uid) if isinstance(uid, numbers.Integral) and not isinstance(uid, bool) else None


def is_number(value: object) -> TypeGuard[float]:
    """A real number, NumPy's included; not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """A real number that is a finite one as a float, too: neither NaN nor 10**400."""
    return as_finite(value) is not None


def _printable(name: object) -> str:
    """A metric's name; half a surrogate pair, which no log or page can be written with, escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def _plain(value: float) -> float:
    # Whole numbers stay whole: a macs count of 1e9 is no float in the journal. Beyond 64 bits NumPy
    # would make objects of them.
    whole = isinstance(value, numbers.Integral) and abs(int(value)) < _LARGEST_WHOLE
    return int(value) if whole else float(value)


def shown(value: object) -> str:
    """A value as a message shows it, cut if it is long."""
    try:
        return _cut(repr(value), 60)
    except (ValueError, RecursionError):  # too many digits, too deep
        return f"a {type(value).__name__} that can't be shown"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def remark_on_test(
    name: str,
    validation: Mapping[str, object],
    test: Mapping[str, object],
    *,
    smaller: bool = False,
) -> str | None:
    """What to think of a metric that is far worse on test than on validation data, if it is.

    Args:
        name: the task's metric.
        validation: metrics on validation data.
        test: those on test data.
        smaller: whether less of the metric is better.
    """
    chosen, held_out = as_finite(validation.get(name)), as_finite(test.get(name))
    if chosen is None or held_out is None:
        return None
    loss = (held_out - chosen) if smaller else (chosen - held_out)
    if loss <= _TEST_LOSS * max(abs(chosen), abs(held_out)):
        return None
    return (
        f"{name} is {held_out:.4g} on test data, far from its {chosen:.4g} on validation data: "
        "the search may have fitted the validation split, so trust the test value"
    )
