"""The four MLPerf Tiny networks on every device, int8: `python -m benchmarks.hardware.mlperf_tiny`.

Estimates of the default stack of each profile, with the range of nine measurements of ten. Prints
a Markdown table; `--csv FILE` writes the same rows with all columns.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from hardware import intervals, list_devices, load_device
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS, live_layers

COLUMNS = (
    "device", "stack", "status", "power_source", "network", "flash_kb", "ram_kb", "fits",
    "latency_ms", "latency_low_ms", "latency_high_ms", "energy_mj", "energy_low_mj",
    "energy_high_mj",
)  # fmt: skip


def rows() -> Iterator[dict[str, str | float]]:
    """Yield one row per device and network; an operator without a cost model raises."""
    for ident in list_devices():
        device = load_device(ident)
        source = device.sources["power_mw"].split()[0].rstrip(":")
        guessed = source in ("borrowed", "assumed", "placeholder")
        power = "measured" if device.runtime.power_mw or not guessed else source
        for name, build in REFERENCE_NETWORKS.items():
            network = build()
            dead = device.runtime.drops_dead_channels
            found = intervals(live_layers(network) if dead else network.layers, device)
            size = found.get("flash_kb", found["size_kb"])
            ram, ms, mj = found["ram_kb"], found["latency_ms"], found["energy_mj"]
            fits = size.value <= device.flash_kb and ram.value <= device.ram_kb
            values = (
                ident, device.stack, device.status, power, name, round(size.value, 1),
                round(ram.value, 1), "yes" if fits else "no",
                *(float(f"{v:.3g}") for x in (ms, mj) for v in (x.value, x.low, x.high)),
            )  # fmt: skip
            yield dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, help="file for the same rows with all columns")
    args = parser.parse_args()
    table = list(rows())
    print("| Device | Stack | Status | Network | Flash, KB | RAM, KB | Latency, ms | Energy, mJ |")
    print("|---|---|---|---|---|---|---|---|")
    for r in table:
        ms = f"{r['latency_ms']} ({r['latency_low_ms']} to {r['latency_high_ms']})"
        mj = f"{r['energy_mj']} ({r['energy_low_mj']} to {r['energy_high_mj']})"
        mj += "" if r["power_source"] == "measured" else f", power {r['power_source']}"
        ram = f"{r['ram_kb']}" + ("" if r["fits"] == "yes" else ", does not fit")
        head = f"| {r['device']} | {r['stack']} | {r['status']} | {r['network']}"
        print(f"{head} | {r['flash_kb']} | {ram} | {ms} | {mj} |")
    if args.csv:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()
