"""Cycles of a Helium core: one factor, and a floor for layers that stream their weights.

    cycles = kappa * I_other + max(kappa * I_linear, stream * bytes of linear weights)

The instructions are those of the shipped Helium kernels, version 2 of the counts. A vector unit
does so much with an instruction that a fully-connected layer takes longer to read its weights than
for its arithmetic: each is used once. So networks that are mostly convolutions say what `kappa`
is, those that are mostly fully connected what `stream` is. No factor is shared with cores without a
vector unit: their effects (`model`) put the four networks of the one board with Helium 39 % off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hardware.calibration.model import Cell
from hardware.cores import COUNTED_AS, KERNEL_SET
from hardware.latency.layer_instructions import CLASSES

_LINEAR = CLASSES.index("linear")


def is_helium(cell: Cell) -> bool:
    """Whether the cell's core has the vector unit."""
    return KERNEL_SET[COUNTED_AS[cell.core]] == "mve"


def kappa(cells: Sequence[Cell]) -> float:
    """Cycles per instruction: the geometric mean over networks that are mostly convolutions.

    Raises:
        ValueError: there is no such network.
    """
    logs = [math.log(c.cycles / sum(c.counts)) for c in cells if not _is_streaming(c)]
    if not logs:
        raise ValueError("no measured network that is mostly convolutions")
    return math.exp(sum(logs) / len(logs))


def stream_cycles(cells: Sequence[Cell]) -> float:
    """Cycles per byte of linear weights: the least of networks that are mostly fully connected.

    The least, since other software adds arithmetic of its own to what the memory takes. 0 where
    there is no such network.
    """
    return min((c.cycles / c.linear_bytes for c in cells if _is_streaming(c)), default=0.0)


def predict(cell: Cell, others: Sequence[Cell], elsewhere: Sequence[Cell]) -> float:
    """Cycles of a cell from its system's other networks.

    Args:
        cell: what is predicted.
        others: other networks on the same system.
        elsewhere: networks on other boards; they say what streaming takes where `others` don't.

    Raises:
        ValueError: as `kappa`.
    """
    own = [c for c in others if _is_streaming(c)]
    factor, floor = kappa(others), stream_cycles(own or elsewhere)
    linear = factor * cell.counts[_LINEAR]
    rest = factor * (sum(cell.counts) - cell.counts[_LINEAR])
    return rest + max(linear, floor * cell.linear_bytes)


def _is_streaming(cell: Cell) -> bool:
    return cell.counts[_LINEAR] > sum(cell.counts) / 2
