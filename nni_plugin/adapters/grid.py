"""A gene for what NNI has no type for: numbers at equal distances, also by their logarithm."""

# ruff: noqa: D102 - what is overridden is documented in `ga.Gene`

from __future__ import annotations

import math
from dataclasses import dataclass

from ga import Integer
from ga.problem.finite import is_finite
from ga.problem.genes import Allele

# Twelve digits: 3 * 0.1 shall be 0.3 in a trial's parameters.
_DIGITS = 12
# How far a value may lie beside its place, in steps: what a database's rounding does.
_NEAR = 1e-6


@dataclass(frozen=True)
class Grid(Integer):
    """The numbers `first + k * step` for k from 0 to `high`; the allele is k.

    Attributes:
        first: the smallest value.
        step: the distance of neighbours; whole `first` and `step` give whole numbers.
        log: whether the logarithm of the value is uniform; then `first` is at least `step`.
    """

    first: float = 0
    step: float = 1
    log: bool = False

    @classmethod
    def between(
        cls, name: str, first: float, last: float, step: float = 1, *, log: bool = False
    ) -> Grid:
        """All numbers of the grid from `first` to `last`, both included.

        Raises:
            ValueError: bounds or a step that are not finite, or in the wrong order; a logarithm of
                numbers below `step`.
        """
        if not all(map(is_finite, (first, last, step))) or step <= 0 or last < first:
            raise ValueError(
                f"gene {name!r} goes from {first!r} to {last!r} by {step!r}: expected finite "
                "numbers, the last not below the first, and a step above 0"
            )
        if log and first < step:
            raise ValueError(f"log gene {name!r} begins at {first!r}: expected at least {step!r}")
        steps = math.floor((last - first) / step + _NEAR)
        return cls(name, 0, steps, first=first, step=step, log=log)

    def decode(self, allele: Allele) -> int | float:  # type: ignore[override]  # an Integer's is whole
        k = int(allele)
        value = self.first + k * self.step
        if isinstance(value, int) or k == 0:
            return value
        return float(f"{value:.{_DIGITS}g}")

    def encode(self, value: object) -> int:
        if is_finite(value):
            place = (value - self.first) / self.step
            if abs(place - round(place)) < _NEAR and 0 <= round(place) <= self.high:
                return round(place)
        raise self._refuse(value, f"{self.first} to {self.decode(self.high)} by {self.step}")

    def to_unit(self, allele: Allele) -> float:
        if not self.log:
            return super().to_unit(allele)
        low, high = self._edges()
        return math.log((self.first + allele * self.step) / low) / math.log(high / low)

    def from_unit(self, unit: float) -> int:
        if not self.log:
            return super().from_unit(unit)
        low, high = self._edges()
        value: float = low * (high / low) ** min(1.0, max(0.0, unit))
        return min(self.high, max(0, round((value - self.first) / self.step)))

    def _edges(self) -> tuple[float, float]:
        """Half a step around the values, so that the outer ones have a share of their own."""
        half = self.step / 2
        return self.first - half, self.first + self.high * self.step + half
