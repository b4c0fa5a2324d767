"""Objectives and constraints: parsing, checking of metrics, feasibility.

Inside `ga` every objective is a *loss*: smaller is better, maximized metrics change sign. A
constraint's *violation* is how far its metric is on the wrong side, relative to the bound (so that
kilobytes and accuracies can be added up), and 0 when it holds.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ga.problem.finite import as_finite, shortened

#: What a trial reported; what has a role is checked to be a number.
Metrics = dict[str, Any]

# Possessive throughout: thousands of digits with a letter behind them are refused at once.
_BOUND = re.compile(r"\s*(<=|>=|<|>)\s*([-+]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][-+]?\d++)?)\s*+")
# A strict bound that is met exactly is violated by a little, not by nothing.
_STRICT = 1e-9


def read_metric(metrics: Mapping[str, object], name: str) -> float:
    """A metric as a finite float.

    Raises:
        ValueError: it is missing, not a number, NaN or infinite.
    """
    if name not in metrics:
        raise ValueError(
            f"metric {name!r} is missing from the result (it has: "
            f"{', '.join(sorted(map(str, metrics))) or 'nothing'}); report it or name another one"
        )
    value = metrics[name]
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(
            f"metric {name}={shortened(value)} is not a number but a {type(value).__name__}"
        )
    number = as_finite(value)
    if number is None:
        raise ValueError(
            f"metric {name}={shortened(value)} is not finite, or too large for a float; "
            "report a finite number"
        )
    return number


@dataclass(frozen=True)
class Objectives:
    """What is optimized.

    Attributes:
        names: metric names.
        signs: -1.0 for a maximized metric, 1.0 for a minimized one.
    """

    names: tuple[str, ...]
    signs: tuple[float, ...]

    @classmethod
    def parse(cls, objectives: Mapping[str, str]) -> Objectives:
        """From `{metric: "maximize" | "minimize"}`.

        Raises:
            ValueError: empty, not a mapping, or an unknown direction.
        """
        if not isinstance(objectives, Mapping) or not objectives:
            raise ValueError(
                f"objectives={shortened(objectives)} should be a non-empty dict like "
                "{'accuracy': 'maximize', 'size_kb': 'minimize'}"
            )
        signs = []
        for name, direction in objectives.items():
            if not isinstance(name, str) or not name:
                raise ValueError(
                    f"objective {shortened(name)} is not a metric name (a non-empty string)"
                )
            if direction not in ("maximize", "minimize"):
                raise ValueError(
                    f"objective {name!r} has direction {shortened(direction)} "
                    "(allowed: 'maximize', 'minimize')"
                )
            signs.append(-1.0 if direction == "maximize" else 1.0)
        return cls(tuple(objectives), tuple(signs))

    def as_dict(self) -> dict[str, str]:
        """Back to `{metric: direction}`."""
        return {
            name: "maximize" if sign < 0 else "minimize"
            for name, sign in zip(self.names, self.signs, strict=True)
        }

    def losses(self, metrics: Mapping[str, object]) -> tuple[float, ...]:
        """The metrics as values to be minimized, in the order of `names`.

        Raises:
            ValueError: a metric is missing or is not a finite number.
        """
        return tuple(
            sign * read_metric(metrics, name)
            for name, sign in zip(self.names, self.signs, strict=True)
        )

    def limits(self, constraints: Iterable[Constraint]) -> tuple[float, ...]:
        """The largest loss of each objective that its own bounds allow, infinite without one."""
        found = dict.fromkeys(self.names, math.inf)
        signs = dict(zip(self.names, self.signs, strict=True))
        for constraint in constraints:
            sign = signs.get(constraint.metric)
            if sign == constraint.sign:
                loss = sign * constraint.bound
                found[constraint.metric] = min(found[constraint.metric], loss)
        return tuple(found.values())

    def reference(self, reference: Mapping[str, float]) -> tuple[float, ...]:
        """A reference point given by metric name, as losses.

        Raises:
            ValueError: it does not name exactly the objectives, or is not finite.
        """
        if not isinstance(reference, Mapping) or set(reference) != set(self.names):
            raise ValueError(
                f"reference={shortened(reference)} should give one value for each objective: "
                f"{', '.join(self.names)}"
            )
        return self.losses(reference)


@dataclass(frozen=True)
class Constraint:
    """One bound on one metric, e.g. `ram_kb <= 256`."""

    metric: str
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.bound:g}"

    @property
    def sign(self) -> float:
        """1.0 if smaller values keep it, -1.0 if larger ones do, as an objective's sign."""
        return 1.0 if self.operator[0] == "<" else -1.0

    @classmethod
    def parse(cls, metric: str, text: object) -> Constraint:
        """From a metric and a text like `"<= 256"`.

        Raises:
            ValueError: the text cannot be read. `==` is not offered: no search meets an equality
                of real numbers; give two bounds instead.
        """
        match = _BOUND.fullmatch(text) if isinstance(text, str) else None
        if not isinstance(metric, str) or not metric or match is None:
            raise ValueError(
                f"constraint {shortened(metric)}: {shortened(text)} cannot be read; write a "
                "metric and a bound with <=, >=, < or >, for example {'ram_kb': '<= 256'} or "
                "{'ram_kb': ['>= 16', '<= 256']}"
            )
        bound = float(match[2])
        if not math.isfinite(bound):
            raise ValueError(
                f"constraint {metric!r}: {shortened(text)} has a bound that is not finite"
            )
        return cls(metric, match[1], bound)

    def excess(self, value: float) -> float:
        """How far a value is on the wrong side, relative to the bound; 0 if it is not."""
        over = value - self.bound if self.operator[0] == "<" else self.bound - value
        if over == 0 and len(self.operator) == 1:
            return _STRICT
        return max(0.0, over) / (abs(self.bound) or 1.0)


def parse_constraints(
    constraints: Mapping[str, object] | Sequence[Constraint],
) -> tuple[Constraint, ...]:
    """From `{metric: "<= 256"}`, `{metric: [">= 1", "<= 4"]}` or an empty sequence.

    Raises:
        ValueError: something else, a text that cannot be read, or bounds of one metric that
            contradict each other.
    """
    if isinstance(constraints, Mapping):
        parsed = [
            Constraint.parse(metric, text)
            for metric, texts in constraints.items()
            for text in (texts if isinstance(texts, (list, tuple)) else [texts])
        ]
    elif isinstance(constraints, (list, tuple)) and all(
        isinstance(c, Constraint) for c in constraints
    ):
        parsed = list(constraints)
    else:
        raise ValueError(
            f"constraints={shortened(constraints)} should be a dict like {{'ram_kb': '<= 256'}}"
        )
    for upper in (c for c in parsed if c.operator[0] == "<"):
        for lower in (c for c in parsed if c.operator[0] == ">" and c.metric == upper.metric):
            strict = len(upper.operator) + len(lower.operator) < 4
            if lower.bound > upper.bound or (strict and lower.bound == upper.bound):
                raise ValueError(f"nothing can satisfy both '{lower}' and '{upper}'")
    return tuple(parsed)


def violation(constraints: Iterable[Constraint], metrics: Mapping[str, object]) -> float:
    """Sum of the relative violations; 0 means feasible.

    Raises:
        ValueError: a constrained metric is missing or is not a finite number.
    """
    return sum((c.excess(read_metric(metrics, c.metric)) for c in constraints), 0.0)
