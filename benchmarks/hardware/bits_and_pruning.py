"""What bits and what pruning buy on each kind of device: draws `docs/images/hardware_*.svg`.

`python benchmarks/hardware/bits_and_pruning.py`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from hardware import cost_function, load_device
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS
from hardware.ir.network import Network

DEVICES = ("stm32l4r5", "stm32h7a3", "stm32g0b1", "mpic", "ne16")
RATIOS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
FOLDER = Path(__file__).parents[2] / "docs" / "images"


def uniform(network: Network, bits: int, device_bits: tuple[int, ...]) -> dict[str, object]:
    a_bits = bits if bits in device_bits else min(b for b in device_bits if b >= bits)
    genes: dict[str, object] = {f"{n}.w_bits": bits for n in network.gene_layers}
    return genes | {f"{n}.a_bits": a_bits for n in network.gene_layers}


def pruned(network: Network, ratio: float) -> dict[str, object]:
    return {f"{g.name}.prune": ratio for g in network.groups if g.prunable}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.hashsalt": "hardware", "font.size": 9})
    print("| device | network | w4 latency | w2 latency | w4 flash | w2 flash | pruned 50 % |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("bits", "pruning"):
        figure, axes = plt.subplots(2, 4, figsize=(12, 5), sharex=True)
        for column, (name, build) in enumerate(REFERENCE_NETWORKS.items()):
            network = build()
            for device_id in DEVICES:
                device = load_device(device_id)
                costs = cost_function(network, device)
                if kind == "bits":
                    xs = [8, 4, 2]
                    found = [costs(uniform(network, b, device.activation_bits)) for b in xs]
                else:
                    xs = [100 * r for r in RATIOS]
                    found = [costs(pruned(network, r)) for r in RATIOS]
                for row, metric in enumerate(("latency_ms", "size_kb")):
                    values = [100 * f[metric] / found[0][metric] for f in found]
                    axes[row][column].plot(xs, values, marker="o", label=device.name[:24])
                if kind == "bits":
                    half = costs(pruned(network, 0.5))["latency_ms"] / found[0]["latency_ms"]
                    cells = [
                        f[m] / found[0][m] for m in ("latency_ms", "size_kb") for f in found[1:]
                    ]
                    print(f"| {device_id} | {name} | ", end="")
                    print(" | ".join(f"{100 * c:.0f} %" for c in (*cells, half)), "|")
            axes[0][column].set_title(name)
            axes[1][column].set_xlabel("bits" if kind == "bits" else "channels removed, %")
            for row in range(2):
                axes[row][column].set_ylim(0, 115)
                axes[row][column].grid(alpha=0.3)
                if kind == "bits":
                    axes[row][column].set_xticks([2, 4, 8])
                    if row == 0 and not axes[row][column].xaxis_inverted():
                        axes[row][column].invert_xaxis()
        axes[0][0].set_ylabel("latency, % of int8")
        axes[1][0].set_ylabel("flash, % of int8")
        axes[0][3].legend(fontsize=6, loc="lower left")
        figure.tight_layout()
        path = args.output / f"hardware_{kind}.svg"
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
