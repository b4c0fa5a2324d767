"""Derive the small table that profiles are calibrated on from a table of public results.

`python benchmarks/hardware/derive_published.py --csv ../shared/data/mlperf_tiny_published.csv`

Keeps int8 results of the closed division on CPU cores, one row per system and benchmark, with
the log file each comes from. Results of accelerators and of a second network are left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import pandas as pd

OUTPUT = Path(__file__).parents[2] / "hardware" / "data" / "published.csv"

DEVICES = {
    "NUCLEO-L4R5ZI": "stm32l4r5",
    "Nucleo-L4R5ZI": "stm32l4r5",
    "NUCLEO-U575ZI-Q": "stm32u575",
    "B_U585I_IOT02A": "stm32u585",
    "NUCLEO-H7A3ZI-Q": "stm32h7a3",
    "NUCLEO-H7A3ZI": "stm32h7a3",
    "DISCO-F746NG": "stm32f746",
    "EK-RA6M4": "ra6m4",
    "nRF5340 DK": "nrf5340",
    "EK-RA8D1": "ra8d1",
    "NUCLEO-G0B1RE": "stm32g0b1",
    "RX65N-Cloud-Kit": "rx65n",
}


def stack_of(row: pd.Series) -> str:
    software = str(row.software)
    where = f"{row.system} {row.impl}".lower()
    if software.startswith("X-CUBE-AI"):
        version = software.split("v")[1]
        return "xcubeai-9" if version.startswith("9") else f"xcubeai-{version[:3]}"
    if software.startswith("Plumerai"):
        return "plumerai-" + ("2023.05" if "2023" in software else str(row["round"])[1:])
    if software.startswith("Bosch"):
        version = "1.0.175" if "1.0.175" in software else "1.0"
        if "max_perf" in where or "min_ram" in where:
            return ""  # another trade-off between code and speed, for a few benchmarks only
        return f"hale-{version}"
    if software == "microTVM":
        return "tvm-native" if "native" in where else "tvm-cmsis-nn"
    if software == "ONNC":
        return "onnc-mbed" if "mbed" in where else "onnc-zephyr"
    if software.startswith("TensorFlow Lite"):
        return "tflm"
    if software.startswith("tflite-micro"):
        return "andes-tflm"
    return "renesas" if str(row.submitter).lower() == "renesas" else ""


def device_of(row: pd.Series) -> str:
    if str(row.core).startswith("Andes D"):
        return "andes-" + str(row.core).split()[1].lower()
    return DEVICES.get(str(row.board), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    table = pd.read_csv(args.csv)
    table = table[(table.dtype == "int8") & (table.division == "closed")]
    table = table[table.benchmark.isin(["ic", "vww", "kws", "ad"])]
    rows = []
    for _, row in table.iterrows():
        device, stack = device_of(row), stack_of(row)
        if not device or not stack:
            continue
        power = row.energy_uJ / row.latency_ms if row.energy_uJ > 0 else float("nan")
        rows.append(
            {
                "device": device,
                "stack": stack,
                "system": f"{row['round']}/{row.submitter}/{row.system}"
                + (f"/{row.impl}" if isinstance(row.impl, str) else ""),
                "benchmark": row.benchmark,
                "latency_ms": round(float(row.latency_ms), 4),
                "power_mw": "" if power != power else round(power, 2),
                "source": row.source_perf,
            }
        )
    rows.sort(key=lambda r: (r["device"], r["stack"], r["system"], r["benchmark"]))
    with args.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows in {args.output}")


if __name__ == "__main__":
    main()
