"""How wrong the estimates are: every published latency predicted without having seen it.

`cells(hold)` predicts each row from a model that was fitted without the rows that `hold` names;
its kappa comes from the other benchmarks of the same device and stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from hardware.calibration import helium
from hardware.calibration.mlperf_tiny_results import Row, rows
from hardware.calibration.model import Effects, fit, kappa, names_of, predict, weighted

Key = Callable[[Row], tuple[str, ...]]


def by_vendor(row: Row) -> tuple[str, ...]:
    """Hold out a benchmark on a board for all versions of a vendor's software at once."""
    return row.device, row.cell.vendor, row.benchmark


def by_cell(row: Row) -> tuple[str, ...]:
    """Hold out a benchmark on a board for one version of the software."""
    return row.device, row.stack, row.benchmark


def by_benchmark(row: Row) -> tuple[str, ...]:
    """Hold out a benchmark everywhere: a network that no fit has ever seen."""
    return (row.benchmark,)


@dataclass(frozen=True)
class Prediction:
    """A published row and what was predicted for it, in milliseconds."""

    row: Row
    latency_ms: float

    @property
    def log_error(self) -> float:
        """Logarithm of predicted over measured."""
        return math.log(self.latency_ms / self.row.latency_ms)

    @property
    def error_pct(self) -> float:
        """Absolute error in percent of the measurement."""
        return 100 * abs(self.latency_ms / self.row.latency_ms - 1)


def cells(hold: Key = by_vendor, data: Sequence[Row] | None = None) -> list[Prediction]:
    """Predict every row whose device and stack have other benchmarks left to fit kappa to."""
    known = rows() if data is None else data
    found = []
    for key in dict.fromkeys(map(hold, known)):
        kept = [row for row in known if hold(row) != key]
        effects = fitted_effects(kept)
        for row in known:
            if hold(row) != key:
                continue
            others = [r.cell for r in kept if r.cell.system == row.cell.system]
            if others and helium.is_helium(row.cell):
                elsewhere = [r.cell for r in kept if r.cell.core != row.cell.core]
                found.append(_prediction(row, helium.predict(row.cell, others, elsewhere)))
            elif others:
                found.append(_prediction(row, predict(row.cell, others, effects)))
    return found


def fitted_effects(data: Sequence[Row]) -> Effects:
    """The model fitted to the rows of all cores but those with Helium, which have their own."""
    return fit([row.cell for row in data if not helium.is_helium(row.cell)])


def order(data: Sequence[Row] | None = None) -> list[tuple[Row, Row, bool]]:
    """Rank every two benchmarks of a device and stack by a model that has seen neither.

    Both are predicted by one fit, as a search ranks its candidates; kappa takes no part in that.

    Returns:
        The two rows, and whether their predictions lie as their measurements do.
    """
    known = rows() if data is None else data
    found = []
    for device, vendor in dict.fromkeys((row.device, row.cell.vendor) for row in known):
        own = [r for r in known if (r.device, r.cell.vendor) == (device, vendor)]
        for pair in combinations(sorted({r.benchmark for r in own}), 2):
            effects = fitted_effects([r for r in known if r not in own or r.benchmark not in pair])
            for stack in dict.fromkeys(r.stack for r in own):
                of = {r.benchmark: r for r in own if r.stack == stack}
                if not all(name in of for name in pair):
                    continue
                a, b = (of[name] for name in pair)
                factors = effects.factors(names_of(a.cell))
                predicted = weighted(a.cell.counts, factors) - weighted(b.cell.counts, factors)
                found.append((a, b, predicted * (a.latency_ms - b.latency_ms) > 0))
    return found


def boards(data: Sequence[Row] | None = None) -> list[Prediction]:
    """Predict every row of a board that no fit has seen, core and vendor known from others.

    Kappa is that of the same stack on other boards with the core, or else of its vendor there.
    """
    known = rows() if data is None else data
    found = []
    for device in dict.fromkeys(row.device for row in known):
        kept = [row for row in known if row.device != device]
        effects = fitted_effects(kept)
        for row in known:
            if row.device != device:
                continue
            like = [r for r in kept if r.cell.core == row.cell.core]
            near = [r for r in like if r.stack == row.stack] or [
                r for r in like if r.cell.vendor == row.cell.vendor
            ]
            if near:
                found.append(_prediction(row, _borrowed(row, near, effects)))
    return found


def _borrowed(row: Row, near: Sequence[Row], effects: Effects) -> float:
    logs = []
    for system in dict.fromkeys(r.cell.system for r in near):
        group = [r.cell for r in near if r.cell.system == system]
        logs.append(math.log(kappa(group, effects.factors(names_of(group[0])))))
    factors = effects.factors(names_of(row.cell))
    return math.exp(sum(logs) / len(logs)) * weighted(row.cell.counts, factors)


def _prediction(row: Row, cycles: float) -> Prediction:
    clock_mhz = row.cell.cycles / row.latency_ms / 1000
    return Prediction(row, cycles / clock_mhz / 1000)
