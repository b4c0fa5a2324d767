"""Estimates with their error: value, interval and status.

Errors of latencies are multiplicative, so the interval is symmetric in the logarithm. Its width
comes from predicting benchmarks that the fit had not seen (`leave_one_out`), four cells of the
core averaged with the stack's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hardware.costs import estimate
from hardware.device import Device
from hardware.ir.layer import Layer

COVERAGE = 0.90
"""Share of boards that an interval should hold: the usual choice."""
_QUANTILE = 1.645  # of the normal distribution, for a two-sided 90 % interval
POWER_ERROR = 0.05
"""Standard error of a board's power between networks.

Energy from the mean power of the other benchmarks and a measured latency is off by 3.7 % on
average over public results.
"""


@dataclass(frozen=True)
class Interval:
    """A value with the range that holds the truth in nine cases of ten, where that is known.

    Attributes:
        value: the estimate.
        low: lower end; equal to `value` if nobody has measured the error.
        high: upper end, likewise.
        status: exact, calibrated, borrowed or uncalibrated.
    """

    value: float
    low: float
    high: float
    status: str


def intervals(layers: Sequence[Layer], device: Device) -> dict[str, Interval]:
    """Return every cost with its interval.

    Args:
        layers: as for `estimate`.
        device: profile with the stack in use.

    Raises:
        ValueError: as `estimate`.
    """
    costs = estimate(layers, device)
    by_factor = factors(device)
    exact = {
        name: Interval(float(v), float(v), float(v), "exact")
        for name, v in costs.as_dict().items()
        if name not in by_factor
    }
    spread = {}
    for name, factor in by_factor.items():
        value = float(getattr(costs, name))
        spread[name] = Interval(value, value / factor, value * factor, device.status)
    return exact | spread


def factors(device: Device) -> dict[str, float]:
    """What the estimates are multiplied and divided by for the ends of their intervals.

    Args:
        device: profile with the stack in use.

    Returns:
        By the names of the costs that are estimates; 1 if nobody has measured the error.
    """
    error = device.runtime.error
    both = math.hypot(error, POWER_ERROR) if error else 0.0
    return {
        "latency_ms": math.exp(_QUANTILE * error),
        "energy_mj": math.exp(_QUANTILE * both),
    }
