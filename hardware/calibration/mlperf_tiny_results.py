"""Latencies from public MLPerf Tiny logs, as `data/published.csv` holds them with their sources.

MLPerf is a trademark of MLCommons. The rows are read from public logs of its result repositories
and are not verified by MLCommons.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from hardware.calibration.model import Cell, benchmark_instructions, linear_bytes

DATA = Path(__file__).parents[1] / "data" / "published.csv"
_DEVICES = Path(__file__).parents[1] / "devices"

DROPS_DEAD = frozenset({"xcubeai-8.1", "xcubeai-9", "onnc-mbed", "onnc-zephyr", "plumerai-2023.05"})
"""Stacks that behave as if they removed channels with all-zero weights.

Inferred from how much faster the visual-wake-words network got between their versions, not
stated by their makers.
"""


@dataclass(frozen=True)
class Row:
    """One published result."""

    device: str
    stack: str
    submission: str
    benchmark: str
    latency_ms: float
    power_mw: float | None
    source: str
    cell: Cell


def vendor_of(stack: str, device: str) -> str:
    """Maker of a stack: its name without the version.

    The two of microTVM are apart, and so is each of Renesas' submissions: they name no software,
    and run on three different instruction sets.
    """
    if stack == "renesas":
        return f"{stack} {device}"
    return stack if stack.startswith("tvm") else stack.split("-")[0]


@lru_cache(maxsize=1)
def rows() -> tuple[Row, ...]:
    """Return all published results with their instruction counts."""
    boards = _boards()
    found = []
    with DATA.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            core, clock_mhz = boards[line["device"]]
            stack = line["stack"]
            cell = Cell(
                core=core,
                vendor=vendor_of(stack, line["device"]),
                stack=stack,
                system=f"{line['device']}/{stack}",
                network=line["benchmark"],
                cycles=float(line["latency_ms"]) * 1000 * clock_mhz,
                counts=benchmark_instructions(line["benchmark"], core, stack in DROPS_DEAD),
                linear_bytes=linear_bytes(line["benchmark"], stack in DROPS_DEAD),
            )
            found.append(
                Row(
                    line["device"],
                    stack,
                    line["system"],
                    line["benchmark"],
                    float(line["latency_ms"]),
                    float(line["power_mw"]) if line["power_mw"] else None,
                    line["source"],
                    cell,
                )
            )
    return tuple(found)


def _boards() -> Mapping[str, tuple[str, float]]:
    boards = {}
    for path in _DEVICES.glob("*.yml"):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        boards[path.stem] = (str(data["core"]), float(data["clock_mhz"]))
    return boards
