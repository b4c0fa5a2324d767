"""Estimates against published results, none of which the fit has seen: prints the tables.

`python benchmarks/hardware/leave_one_out.py`

Latencies, int8, from public MLPerf Tiny logs (not verified by MLCommons). "Unseen from the vendor"
holds a benchmark out for all versions of a vendor's software on a board at once; "unseen anywhere"
holds it out on every board. Flash and arena are exact, and are checked to be.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
from collections.abc import Sequence

from hardware import estimate, flash, load_device
from hardware.calibration.cross_validation import (
    Prediction,
    boards,
    by_benchmark,
    by_cell,
    by_vendor,
    cells,
    order,
)
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS, live_layers
from hardware.calibration.mlperf_tiny_results import Row
from hardware.memory.planner import buffers, plan

FAMILIES = {
    "cortex-m0plus": "M0+",
    "cortex-m4": "M4",
    "cortex-m7": "M7",
    "cortex-m33": "M33",
    "cortex-m85": "M85 (MVE)",
    "rxv2": "RXv2",
    "andes-d25f": "Andes D25F, D45",
    "andes-d45": "Andes D25F, D45",
}
CALIBRATED = ("M0+", "M4", "M7", "M33")
"""Cores whose own kernels were counted, and whose stacks were measured more than once."""


def family(prediction: Prediction) -> str:
    return FAMILIES[prediction.row.cell.core]


def line(name: str, found: Sequence[Prediction]) -> str:
    errors = [p.error_pct for p in found]
    within = 100 * sum(e <= 10 for e in errors) / len(errors)
    mape, median = statistics.mean(errors), statistics.median(errors)
    return f"{name:24} {len(errors):5} {mape:7.1f} {median:8.1f} {within:9.0f}"


def kendall(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau-b between predicted and measured values."""
    score = ties_a = ties_b = 0
    for (a, x), (b, y) in itertools.combinations(pairs, 2):
        sign_a, sign_b = (a > b) - (a < b), (x > y) - (x < y)
        score += sign_a * sign_b
        ties_a += sign_a != 0
        ties_b += sign_b != 0
    return score / math.sqrt(ties_a * ties_b)


def rank_correlation(found: Sequence[Prediction], shipped: bool) -> float:
    """Mean over boards; with the shipped profiles, or each benchmark as predicted when left out."""
    taus = []
    for device in sorted({p.row.device for p in found}):
        own = [p for p in found if p.row.device == device]
        pairs = [(shipped_ms(p.row) if shipped else p.latency_ms, p.row.latency_ms) for p in own]
        taus.append(kendall(pairs))
    return statistics.mean(taus)


def shipped_ms(row: Row) -> float:
    """Latency that the shipped profile gives for a published row."""
    device = load_device(f"{row.device}:{row.stack}")
    network = REFERENCE_NETWORKS[row.benchmark]()
    dead = device.runtime.drops_dead_channels
    return estimate(live_layers(network) if dead else network.layers, device).latency_ms


def energy_errors(found: Sequence[Prediction]) -> list[float]:
    """Errors of predicted latency times the mean power of the system's other benchmarks."""
    errors = []
    for p in found:
        if p.row.power_mw is None:
            continue
        others = [
            q.row.power_mw
            for q in found
            if q.row.submission == p.row.submission
            and q.row.stack == p.row.stack
            and q.row.benchmark != p.row.benchmark
            and q.row.power_mw is not None
        ]
        if others:
            predicted = p.latency_ms * statistics.mean(others)
            errors.append(100 * abs(predicted / (p.row.latency_ms * p.row.power_mw) - 1))
    return errors


def exact() -> bool:
    """Print arena and weight flash of the reference networks beside the published numbers."""
    arenas = {"ic": 49_152, "vww": 73_728, "kws": 16_000, "ad": 768}
    weights = {"ic": 77_360 + 1_384, "vww": 208_112 + 10_952, "kws": 22_016 + 2_352}
    weights["ad"] = 264_192 + 6_688
    device = load_device("stm32l4r5:tflm")
    print("\nbytes                  arena   published   weights+bias   published")
    good = True
    for name, build in REFERENCE_NETWORKS.items():
        layers = build().layers
        arena, sizes = plan(buffers(layers)), flash(layers, device)
        stored = sizes.weights + sizes.bias
        good &= arena == arenas[name] and stored == weights[name]
        print(f"{name:20} {arena:7} {arenas[name]:11} {stored:14} {weights[name]:11}")
    return good


def main() -> int:
    strict = cells(by_vendor)
    calibrated = [p for p in strict if family(p) in CALIBRATED]
    header = f"{'left out':24} {'cells':>5} {'MAPE %':>7} {'median %':>8} {'<=10 % (%)':>9}"
    print(header)
    print(line("calibrated cores", calibrated))
    for name in dict.fromkeys(FAMILIES.values()):
        print(line(f"  {name}", [p for p in strict if family(p) == name]))
    for name in ("ic", "vww", "kws", "ad"):
        print(line(f"  {name}", [p for p in calibrated if p.row.benchmark == name]))
    for title, hold in (("one version only", by_cell), ("unseen anywhere", by_benchmark)):
        print(line(title, [p for p in cells(hold) if family(p) in CALIBRATED]))
    left = boards()
    print(line("whole board", left))
    energy = energy_errors(strict)
    shipped, unseen = (rank_correlation(calibrated, flag) for flag in (True, False))
    print(f"\nKendall's tau within a board, mean: {shipped:.3f} by the shipped profiles, ", end="")
    print(f"{unseen:.3f} with each benchmark left out")
    ranked = [(a, b, good) for a, b, good in order() if FAMILIES[a.cell.core] in CALIBRATED]
    print("  two benchmarks left out at a time and ranked by one model:")
    for title, gap in (("all pairs", 0.0), ("more than 10 % apart", 0.1)):
        apart = [good for a, b, good in ranked if abs(math.log(a.latency_ms / b.latency_ms)) > gap]
        tau = 2 * statistics.mean(apart) - 1
        print(f"    {title}: tau {tau:.3f} over {len(apart)} pairs")
    print(f"energy, predicted latency x mean power of the others: {statistics.mean(energy):.1f} % ")
    print(f"  over {len(energy)} cells")
    good = exact()
    wake = REFERENCE_NETWORKS["vww"]()
    live = live_layers(wake)
    device = load_device("stm32l4r5:xcubeai-8.1")
    ratio = estimate(live, device).latency_ms / estimate(wake.layers, device).latency_ms
    print(f"\nvww without dead channels: {sum(x.macs for x in live):,} of ", end="")
    print(f"{sum(x.macs for x in wake.layers):,} MACs, {ratio:.3f} of the latency")
    mape = statistics.mean(p.error_pct for p in calibrated)
    return 0 if good and mape <= 8 else 1


if __name__ == "__main__":
    sys.exit(main())
