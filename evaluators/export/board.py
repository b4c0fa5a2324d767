"""Whether an exported network fits on its board, in numbers."""

from __future__ import annotations

from evaluators.export.card import Metrics
from hardware import Device

_KB = 1024


def exceeded(metrics: Metrics, device: Device) -> list[str]:
    """What of a board an export exceeds: a sentence each, none if it fits.

    Flash is `flash_kb` where the trial's metrics have it, else the weights alone, to which code
    comes. RAM is the arena of the C, else the estimate.

    Args:
        metrics: what `metrics.json` holds.
        device: the board.
    """
    val, name = metrics["val"], device.name or device.id
    flash, of_flash = val.get("flash_kb"), "weights, code and tables"
    if flash is None:
        stored = metrics.get("weights_bytes")
        flash = val["size_kb"] if stored is None else stored / _KB
        of_flash = "the weights alone"
    arena = metrics.get("integer_ram_bytes")
    ram, of_ram = (
        (val["ram_kb"], "by the estimate") if arena is None else (arena / _KB, "the arena of the C")
    )
    found = []
    for kind, need, has, what in (
        ("flash", flash, device.flash_kb, of_flash), ("RAM", ram, device.ram_kb, of_ram)
    ):  # fmt: skip
        if need > has:
            found.append(f"{kind}: {need:,.1f} KB are needed ({what}), {name} has {has:,.1f} KB")
    return found
