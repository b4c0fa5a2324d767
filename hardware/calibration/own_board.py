"""Fits an own board to a few networks measured on it.

The measurements are a CSV with the columns `network` and `latency_ms`: `network` is one of the
reference networks (ic, vww, kws, ad) or the path of a network file that `joint-ga space` wrote.
A column `params` may name a JSON file with the chromosome that ran.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS
from hardware.calibration.model import RIDGE, Cell, fit, kappa, weighted
from hardware.cores import COUNTED_AS
from hardware.device import Device, load_device
from hardware.ir.network import Network
from hardware.latency.layer_instructions import class_instructions
from hardware.stacks import fitted
from hardware.versions import LATEST

PLAUSIBLE_KAPPA = (0.03, 30.0)
"""Cycles per instruction outside this range come from wrong units, not from a processor."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted for a board.

    Attributes:
        device: id of the board.
        stack: name of the stack it describes.
        kappa: cycles per counted instruction.
        depthwise: factor on depthwise convolutions.
        linear: factor on fully-connected layers.
        error: standard error of the logarithm of the latency of the next network.
        expected_error_pct: the same in percent: what to expect on the next network.
        networks: measured networks.
        left_out_pct: error on each of them when it was left out, in percent; empty for two.
    """

    device: str
    stack: str
    kappa: float
    depthwise: float
    linear: float
    error: float
    expected_error_pct: float
    networks: int
    left_out_pct: Mapping[str, float]

    def text(self) -> str:
        """Return the result as a few lines, the last ones YAML to paste into the profile."""
        lines = [
            f"{self.device}: {self.networks} measured networks, kappa {self.kappa:.3f} cycles per "
            "instruction",
            *(f"  {n} left out: {e:.1f} % off" for n, e in self.left_out_pct.items()),
            f"expected error on the next network: {self.expected_error_pct:.0f} %",
            "",
            yaml.safe_dump({"stacks": {self.stack: self.fields()}}, sort_keys=False).rstrip(),
        ]
        return "\n".join(lines)

    def fields(self) -> dict[str, float | str]:
        """Return the stack's fields for a device profile."""
        return {
            "kappa": round(self.kappa, 4),
            "depthwise": round(self.depthwise, 4),
            "linear": round(self.linear, 4),
            "error": round(self.error, 4),
            "networks": self.networks,
            "status": "calibrated",
            "counts": LATEST,
            "source": f"joint-ga calibrate, {self.networks} measured networks",
        }


def calibrate(device: str | Path, measured: str | Path, stack: str = "measured") -> Calibration:
    """Fit the factors of a board from measured latencies.

    Args:
        device: shipped id or YAML file; its core and clock are used.
        measured: CSV file, see above.
        stack: name for the fitted stack.

    Raises:
        ValueError: the profile or the table is wrong: a missing column, a latency that is no
            number above 0, fewer than two networks, latencies that no processor could have.
        FileNotFoundError: a file is missing.
    """
    board = load_device(device)
    if board.core not in COUNTED_AS:
        raise ValueError(f"core {board.core!r} has no counted kernels, so no factor to fit")
    cells = read_cells(Path(measured), board, stack)
    factors, factor = _fit(cells)
    if not PLAUSIBLE_KAPPA[0] <= factor <= PLAUSIBLE_KAPPA[1]:
        raise ValueError(
            f"{measured}: the latencies mean {factor:.3g} cycles per instruction at "
            f"{board.clock_mhz:g} MHz, which no processor has; latency_ms must be in milliseconds"
        )
    left_out = _leave_one_out(cells) if len(cells) > 2 else {}
    error = _error(list(left_out.values()), board)
    return Calibration(
        board.id,
        stack,
        kappa=factor,
        depthwise=factors[0],
        linear=factors[1],
        error=error,
        expected_error_pct=100 * (math.exp(error * math.sqrt(2 / math.pi)) - 1),
        networks=len(cells),
        left_out_pct={n: 100 * abs(math.exp(e) - 1) for n, e in left_out.items()},
    )


def read_cells(path: Path, board: Device, stack: str) -> list[Cell]:
    """Read a table of measurements.

    Raises:
        ValueError: see `calibrate`.
        FileNotFoundError: the table or a network file is missing.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            columns = reader.fieldnames or []
            lines = list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: no CSV table ({error})") from None
    if "network" not in columns or "latency_ms" not in columns:
        raise ValueError(
            f"{path}: columns {list(columns)} must contain 'network' and 'latency_ms' "
            "(milliseconds)"
        )
    cells = [_cell(path, number, line, board, stack) for number, line in enumerate(lines, 2)]
    if len({cell.network for cell in cells}) < 2:
        raise ValueError(
            f"{path}: {len(cells)} measured network(s); at least two different ones are needed to "
            "fit a factor and to say how wrong it is"
        )
    return cells


def _cell(path: Path, number: int, line: Mapping[str, str], board: Device, stack: str) -> Cell:
    try:
        latency_ms = float(line["latency_ms"])
    except (TypeError, ValueError):
        latency_ms = math.nan
    if not math.isfinite(latency_ms) or latency_ms <= 0:
        raise ValueError(
            f"{path}, line {number}: latency_ms={line['latency_ms']!r} must be milliseconds above 0"
        )
    name = (line["network"] or "").strip()
    build = REFERENCE_NETWORKS.get(name)
    if build is None and not (path.parent / name).is_file():
        raise ValueError(
            f"{path}, line {number}: network={name!r} is neither a file nor one of "
            f"{', '.join(REFERENCE_NETWORKS)}"
        )
    network = build() if build else Network.load(path.parent / name)
    chosen = (line.get("params") or "").strip()
    try:
        counts = class_instructions(network.apply(_params(path.parent / chosen)), board.core)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None
    return Cell(
        core=board.core,
        vendor=stack,
        stack=stack,
        system=board.id,
        network=name + (f"+{chosen}" if chosen else ""),
        cycles=latency_ms * 1000 * board.clock_mhz,
        counts=tuple(counts),
    )


def _params(path: Path) -> dict[str, object]:
    """The chromosome in a file; the empty one where none is named."""
    if path.is_dir():
        return {}
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"params file {path} does not exist") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"params file {path} is no JSON: {error}") from None
    if not isinstance(params, dict):
        raise ValueError(f"params file {path} must hold an object of genes and values")
    return params


def _fit(cells: Sequence[Cell]) -> tuple[tuple[float, ...], float]:
    """Factors and kappa: layers cost what their instructions say, until the board says more."""
    own = fit(cells, {**RIDGE, "all": 1e3, "family": 1e3, "vendor": 1e3, "stack": 1e3})
    factors = own.factors({"system": cells[0].system})
    return factors, kappa(cells, factors)


def _leave_one_out(cells: Sequence[Cell]) -> dict[str, float]:
    errors = {}
    for cell in cells:
        others = [c for c in cells if c.network != cell.network]
        factors, factor = _fit(others)
        errors[cell.network] = math.log(factor * weighted(cell.counts, factors) / cell.cycles)
    return errors


def _error(left_out: Sequence[float], board: Device) -> float:
    """Standard error: the board's own left-out networks, with four cells of its core."""
    prior = float(fitted()["core_errors"].get(board.core, 0.3))
    squares = sum(e * e for e in left_out) + 4 * prior**2
    return math.sqrt(squares / (len(left_out) + 4))
