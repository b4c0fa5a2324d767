"""Gene types: what one position of a chromosome may hold, and how it maps to a parameter value.

An *allele* is what the genetic operators work on: the index of a value for the discrete genes
(`Ordered`, `Categorical`, `Integer`), the value itself for `Real` and `Normal`, so that a value
read back from a trial log is the very same allele. Every numeric gene also has a *unit*
coordinate in [0, 1] on which distances, crossover and Latin hypercubes are defined.
"""

# ruff: noqa: D102 - what the subclasses override is documented in `Gene`

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar

from ga.problem.finite import is_finite, shortened

Allele = int | float

_STANDARD_NORMAL = NormalDist()
# A normal gene reaches +-4.75 standard deviations: beyond lies one sample in a million.
_TAIL = 1e-6
# Beyond these, sums and products of a gene's numbers leave the range of a float, or its digits.
_LARGEST = 1e300
_MOST_STEPS = 2**53


def same_value(a: object, b: object) -> bool:
    """Whether two parameter values are the same one (1 and 1.0 are; 1 and True are not)."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


@dataclass(frozen=True)
class Gene:
    """One named position of a chromosome. Use a subclass.

    Attributes:
        name: the key of the gene in the parameters of a trial.
    """

    name: str
    numeric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a gene's name must be a non-empty string, got {self.name!r}")

    @property
    def size(self) -> int | None:
        """The number of distinct alleles; None if there is no end of them."""
        raise NotImplementedError

    def decode(self, allele: Allele) -> Any:
        """The parameter value of an allele."""
        raise NotImplementedError

    def encode(self, value: object) -> Allele:
        """The allele of a parameter value.

        Raises:
            ValueError: the gene cannot take this value.
        """
        raise NotImplementedError

    def nth(self, index: int) -> Allele:
        """The allele number `index` of a gene with a finite `size`."""
        return index

    def sample(self, rng: random.Random) -> Allele:
        """An allele drawn from the gene's own distribution."""
        return self.from_unit(rng.random())

    def to_unit(self, allele: Allele) -> float:
        """The allele's place in [0, 1]."""
        raise NotImplementedError

    def from_unit(self, unit: float) -> Allele:
        """The allele nearest to a place in [0, 1]."""
        raise NotImplementedError

    def _refuse(self, value: object, allowed: str) -> ValueError:
        return ValueError(
            f"{self.name}={shortened(value)} is not in the search space (allowed: {allowed})"
        )


def _index_to_unit(index: Allele, size: int) -> float:
    return (index + 0.5) / size


def _unit_to_index(unit: float, size: int) -> int:
    return min(size - 1, max(0, int(unit * size)))


@dataclass(frozen=True)
class _Listed(Gene):
    values: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ValueError(f"gene {self.name!r} has no values: give it at least one")
        for i, value in enumerate(self.values):
            if any(same_value(value, other) for other in self.values[:i]):
                raise ValueError(f"gene {self.name!r} lists {value!r} twice: {self.values!r}")

    @property
    def size(self) -> int:
        return len(self.values)

    def decode(self, allele: Allele) -> Any:
        return self.values[int(allele)]

    def encode(self, value: object) -> Allele:
        for index, own in enumerate(self.values):
            if same_value(own, value):
                return index
        raise self._refuse(value, ", ".join(repr(v) for v in self.values))

    def to_unit(self, allele: Allele) -> float:
        return _index_to_unit(allele, self.size)

    def from_unit(self, unit: float) -> Allele:
        return _unit_to_index(unit, self.size)


@dataclass(frozen=True)
class Ordered(_Listed):
    """A list of numbers in increasing or decreasing order; neighbours are alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bad = [v for v in self.values if not is_finite(v)]
        if bad:
            raise ValueError(
                f"ordered gene {self.name!r} takes finite numbers only, got {shortened(bad[0])}"
            )
        if list(self.values) not in (sorted(self.values), sorted(self.values, reverse=True)):
            raise ValueError(
                f"the values of ordered gene {self.name!r} are not sorted: {self.values!r}; "
                "sort them or use Categorical"
            )


@dataclass(frozen=True)
class Categorical(_Listed):
    """A list of values without an order, each with its own further genes if it is nested.

    Attributes:
        children: one tuple of genes per value; they count only while that value is chosen. With
            children the parameter is a dict: `{"_name": value, child: ...}`, as in NNI.
    """

    children: tuple[tuple[Gene, ...], ...] = ()
    numeric: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "children", tuple(tuple(genes) for genes in self.children))
        if self.children and len(self.children) != len(self.values):
            raise ValueError(
                f"nested gene {self.name!r} has {len(self.values)} values but children for "
                f"{len(self.children)}: give every value a (maybe empty) tuple of genes"
            )


@dataclass(frozen=True)
class Integer(Gene):
    """A whole number from `low` to `high`, both included."""

    low: int = 0
    high: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for bound in (self.low, self.high):
            if not isinstance(bound, int) or isinstance(bound, bool):
                raise ValueError(
                    f"integer gene {self.name!r} needs whole bounds, got {shortened(bound)}"
                )
            if abs(bound) > _MOST_STEPS:
                raise ValueError(
                    f"integer gene {self.name!r} needs bounds of at most 2**53, got "
                    f"{shortened(bound)}: choose smaller ones, or a real gene"
                )
        if self.high < self.low:
            raise ValueError(f"integer gene {self.name!r} has high={self.high} < low={self.low}")

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def decode(self, allele: Allele) -> int:
        return self.low + int(allele)

    def encode(self, value: object) -> int:
        if not is_finite(value) or value != int(value) or not self.low <= value <= self.high:
            raise self._refuse(value, f"whole numbers from {self.low} to {self.high}")
        return int(value) - self.low

    def to_unit(self, allele: Allele) -> float:
        return _index_to_unit(allele, self.size)

    def from_unit(self, unit: float) -> int:
        return _unit_to_index(unit, self.size)


@dataclass(frozen=True)
class _Continuous(Gene):
    """Shared by `Real` and `Normal`: optional logarithm, optional rounding to a step."""

    log: bool = field(default=False, kw_only=True)
    step: float | None = field(default=None, kw_only=True)

    def _check_numbers(self, **numbers: float) -> None:
        for what, value in numbers.items():
            if not is_finite(value) or abs(value) > _LARGEST:
                raise ValueError(
                    f"gene {self.name!r} needs finite bounds, got {shortened(value)} as its "
                    f"{what} (the largest is {_LARGEST:g})"
                )
        if self.step is not None and not (is_finite(self.step) and 0 < self.step <= _LARGEST):
            raise ValueError(
                f"gene {self.name!r} needs a step above 0, got {shortened(self.step)} (the "
                f"largest is {_LARGEST:g})"
            )

    def _check_grid(self) -> None:
        low, high = self.bounds
        if self.step is not None and max(abs(low), abs(high)) / self.step > _MOST_STEPS:
            raise ValueError(
                f"gene {self.name!r}: step {self.step!r} is too small for values from {low:g} to "
                f"{high:g}: give a larger one, or none"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that `from_unit` gives before rounding."""
        raise NotImplementedError

    def _grid(self) -> tuple[int, int]:
        assert self.step is not None
        low, high = self.bounds
        return round(low / self.step), round(high / self.step)

    def _snap(self, value: float) -> float:
        if self.step is None:
            return value
        # Twelve digits: 3 * 0.1 shall be 0.3 in a trial's parameters.
        return float(f"{round(value / self.step) * self.step:.12g}")

    @property
    def size(self) -> int | None:
        if self.step is None:
            return 1 if self.bounds[0] == self.bounds[1] else None
        first, last = self._grid()
        return last - first + 1

    def nth(self, index: int) -> float:
        if self.step is None:
            return self.bounds[0]
        return self._snap((self._grid()[0] + index) * self.step)

    def decode(self, allele: Allele) -> float:
        return float(allele)

    def encode(self, value: object) -> float:
        if not is_finite(value):
            raise self._refuse(value, "finite numbers")
        return float(value)


@dataclass(frozen=True)
class Real(_Continuous):
    """A number from `low` to `high`, uniform in it (or in its logarithm)."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_numbers(low=self.low, high=self.high)
        if self.high < self.low:
            raise ValueError(f"real gene {self.name!r} has high={self.high} < low={self.low}")
        if self.log and self.low <= 0:
            raise ValueError(f"log gene {self.name!r} needs low > 0, got {self.low}")
        if self.log and self.high / self.low > _LARGEST:
            raise ValueError(
                f"log gene {self.name!r} has high={self.high} and low={self.low}, too far apart: "
                f"high / low should be at most {_LARGEST:g}"
            )
        self._check_grid()

    @property
    def bounds(self) -> tuple[float, float]:
        return float(self.low), float(self.high)

    def _snap(self, value: float) -> float:
        return min(max(super()._snap(value), float(self.low)), float(self.high))

    def encode(self, value: object) -> float:
        number = super().encode(value)
        # A value that went through a log file or another tuner may be off by its last digit.
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if not self.low - slack <= number <= self.high + slack:
            raise self._refuse(value, f"{self.low} to {self.high}")
        return number

    def to_unit(self, allele: Allele) -> float:
        if self.low == self.high:
            return 0.5
        if self.log:
            share = math.log(max(allele, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (allele - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def from_unit(self, unit: float) -> float:
        unit = min(1.0, max(0.0, unit))
        if self.log:
            return self._snap(self.low * math.exp(unit * math.log(self.high / self.low)))
        return self._snap(self.low + unit * (self.high - self.low))


@dataclass(frozen=True)
class Normal(_Continuous):
    """A normally distributed number (with `log`: its logarithm is), without bounds.

    The unit coordinate is the cumulative probability, cut at one in a million on both sides.
    """

    mu: float = 0.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_numbers(mu=self.mu, sigma=self.sigma)
        if self.sigma <= 0:
            raise ValueError(
                f"normal gene {self.name!r} needs a finite mu and sigma > 0, "
                f"got mu={shortened(self.mu)}, sigma={shortened(self.sigma)}"
            )
        furthest = math.log(_LARGEST)
        if self.log and not all(abs(self._deviated(unit)) <= furthest for unit in (0.0, 1.0)):
            raise ValueError(
                f"log normal gene {self.name!r} has mu={self.mu!r}, sigma={self.sigma!r}: its "
                f"values leave the range of numbers; keep |mu| + 4.8 sigma below {furthest:.0f}"
            )
        self._check_grid()

    def _deviated(self, unit: float) -> float:
        z = _STANDARD_NORMAL.inv_cdf(min(1 - _TAIL, max(_TAIL, unit)))
        return self.mu + self.sigma * z

    def _at(self, unit: float) -> float:
        value = self._deviated(unit)
        return math.exp(value) if self.log else value

    @property
    def bounds(self) -> tuple[float, float]:
        return self._at(0.0), self._at(1.0)

    def to_unit(self, allele: Allele) -> float:
        value = float(allele)
        if self.log:
            value = math.log(max(value, self.bounds[0]))
        return _STANDARD_NORMAL.cdf((value - self.mu) / self.sigma)

    def from_unit(self, unit: float) -> float:
        return self._snap(self._at(unit))


def flatten_groups(names: Sequence[str]) -> list[str]:
    """The layer of each gene name: everything up to the last dot, or the name without one."""
    return [name.rsplit(".", 1)[0] if "." in name else name for name in names]
