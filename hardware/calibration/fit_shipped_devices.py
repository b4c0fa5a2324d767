"""Fits every shipped device to public logs: `python -m hardware.calibration.fit_shipped_devices`.

Writes `data/stacks.json`: per device and software stack the factors of `calibration`, the power
that was measured, the error on benchmarks that were left out, and the log files.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardware.calibration import helium
from hardware.calibration.cross_validation import (
    Prediction,
    by_vendor,
    cells,
    fitted_effects,
)
from hardware.calibration.mlperf_tiny_results import DROPS_DEAD, Row, rows
from hardware.calibration.model import FACTORS, Cell, Effects, counts_version, kappa, names_of
from hardware.runtime import RuntimeFields
from hardware.stacks import Stacks

OUTPUT = Path(__file__).parents[1] / "data" / "stacks.json"
BOARD_ERROR = 0.15
"""What a board adds to the error of a stack known on others: twice what leaving one out gave."""
PRIOR_CELLS = 4
"""How many cells of its core a stack's own error is averaged with: four benchmarks say little."""


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    data = table()
    args.output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    for device, stacks in data["devices"].items():
        for stack, values in stacks.items():
            print(f"{device:12} {stack:18} kappa {values['kappa']:.3f} error {values['error']:.3f}")


def table() -> dict[str, Any]:
    """Return the contents of `data/stacks.json`."""
    known = rows()
    effects = fitted_effects(known)
    left_out = cells(by_vendor)
    devices: dict[str, dict[str, RuntimeFields]] = {}
    for device, stack in sorted({(row.device, row.stack) for row in known}):
        own = [row for row in known if (row.device, row.stack) == (device, stack)]
        devices.setdefault(device, {})[stack] = _entry(own, effects, left_out)
    shared = {
        f"{level}/{name}": [round(v, 4) for v in values]
        for (level, name), values in effects.values.items()
        if level in ("all", "family", "vendor")
    }
    return {
        "model": "hardware.calibration.model, fitted to hardware/data/published.csv",
        "devices": devices,
        "effects": shared,
        "borrowed": {c: _borrowed(devices, known, c) for c in _cores(known)},
        "core_errors": {c: round(_rms(_of_core(left_out, c)), 4) for c in _cores(known)},
    }


def _entry(own: Sequence[Row], effects: Effects, left_out: Sequence[Prediction]) -> RuntimeFields:
    group = [row.cell for row in own]
    errors = [p.log_error for p in left_out if p.row.cell.system == group[0].system]
    power = [row.power_mw for row in own if row.power_mw is not None]
    entry: dict[str, object] = {
        **_factors(group, effects),
        "error": round(_shrunk(errors, _of_core(left_out, group[0].core)), 4),
        "networks": len({row.benchmark for row in own}),
        "status": "calibrated",
        "drops_dead_channels": own[0].stack in DROPS_DEAD,
        "source": sorted({row.source.split("/ad/")[0].split("/ic/")[0] for row in own})[0],
    }
    if power:
        entry["power_mw"] = round(sum(power) / len(power), 2)
    return entry


def _factors(group: Sequence[Cell], effects: Effects) -> RuntimeFields:
    if helium.is_helium(group[0]):
        return _helium_factors(group)
    factors = effects.factors(names_of(group[0]))
    return {
        "kappa": round(kappa(group, factors), 4),
        **{name: round(f, 4) for name, f in zip(FACTORS, factors, strict=True)},
    }


def _helium_factors(group: Sequence[Cell]) -> RuntimeFields:
    return {
        "kappa": round(helium.kappa(group), 4),
        **dict.fromkeys(FACTORS, 1.0),
        "stream_cycles": round(helium.stream_cycles(group), 4),
        "counts": counts_version(group[0].core),
    }


def _borrowed(devices: Stacks, known: Sequence[Row], core: str) -> dict[str, dict[str, object]]:
    """Factors for boards that were not measured: each stack of the core, and all of them."""
    boards = sorted({row.device for row in known if row.cell.core == core})
    entries = [(stack, board) for board in boards for stack in devices[board]]
    made = {"borrowed": _mean([devices[board][stack] for stack, board in entries], boards)}
    for name in sorted({stack for stack, _ in entries}):
        on = [board for stack, board in entries if stack == name]
        made[name] = _mean([devices[board][name] for board in on], on)
        made[name]["drops_dead_channels"] = name in DROPS_DEAD
    return made


def _mean(found: Sequence[RuntimeFields], boards: Sequence[str]) -> dict[str, object]:
    """Geometric means; the error adds what the stacks differ by and what boards differ by."""
    logs = {k: [math.log(entry[k]) for entry in found] for k in ("kappa", *FACTORS)}
    means = {k: sum(v) / len(v) for k, v in logs.items()}
    spread = _rms([v - means["kappa"] for v in logs["kappa"]])
    own = max(entry["error"] for entry in found)
    # What a core's stacks have alike: of which counts they are, and what streaming takes.
    same = {k: found[0][k] for k in ("stream_cycles", "counts") if k in found[0]}
    return {
        **{k: round(math.exp(v), 4) for k, v in means.items()},
        **same,
        "error": round(math.hypot(spread, own, BOARD_ERROR), 4),
        "status": "borrowed",
        "source": f"geometric mean of {len(found)} stacks measured on {', '.join(boards)}",
    }


def _shrunk(own: Sequence[float], core: Sequence[float]) -> float:
    squares = sum(e * e for e in own) + PRIOR_CELLS * _rms(core) ** 2
    return math.sqrt(squares / (len(own) + PRIOR_CELLS))


def _of_core(predictions: Sequence[Prediction], core: str) -> list[float]:
    return [p.log_error for p in predictions if p.row.cell.core == core]


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values)) if values else 0.0


def _cores(known: Sequence[Row]) -> list[str]:
    return sorted({row.cell.core for row in known})


if __name__ == "__main__":
    main()
