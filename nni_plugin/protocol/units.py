"""The units of metrics, by their names; docs/reference/metrics.md lists the metrics."""

from __future__ import annotations

__all__ = ["label", "unit_of"]

_BY_ENDING = {"_kb": "KB", "_ms": "ms", "_mj": "mJ", "_s": "s", "_percent": "%"}
_BY_NAME = {"macs": "operations", "bops": "bit operations", "accuracy": "share of 1"}


def unit_of(metric: str) -> str:
    """The unit of a metric (one KB is 1024 bytes); empty where its name tells none.

    Args:
        metric: its name; what a forecast or a baseline adds to it changes no unit.
    """
    base = metric.removesuffix("_low").removesuffix("_high")
    for ending, unit in _BY_ENDING.items():
        if base.endswith(ending):
            return unit
    for name, unit in _BY_NAME.items():
        if base == name or base.endswith(f"_{name}"):
            return unit
    return ""


def label(metric: str) -> str:
    """A metric's name with its unit, for an axis or the head of a column."""
    unit = unit_of(metric)
    return f"{metric} ({unit})" if unit else metric
