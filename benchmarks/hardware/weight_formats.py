"""What sparse and power-of-two weights cost: `python benchmarks/hardware/weight_formats.py`.

First the instructions of one multiplication, by the kernels' closed form, for a layer whose shape
favours none of them; then whole networks with all weights in one format, relative to plain weights
of the same bits.
"""

from __future__ import annotations

from dataclasses import replace

from hardware import estimate, load_device
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS
from hardware.cores import KERNEL_SET
from hardware.ir.layer import Layer
from hardware.latency.instruction_counts import instructions
from hardware.latency.kernel_calls import Job

LAYER = Job("conv", 8, 8, 64, 8, 8, 64, 3, 3, 1, 1, (1, 1, 1, 1))
FORMATS: dict[str, dict[str, object]] = {
    "w8, half zero": {"w_bits": 8, "sparsity": 0.5},
    "w8, 3/4 zero": {"w_bits": 8, "sparsity": 0.75},
    "w8, 9/10 zero": {"w_bits": 8, "sparsity": 0.9},
    "w4, 3/4 zero": {"w_bits": 4, "sparsity": 0.75},
    "w4, powers of two": {"w_bits": 4, "w_scheme": "power_of_two"},
}


def main() -> None:
    macs = LAYER.oh * LAYER.ow * LAYER.oc * LAYER.row_weights
    print("| core | multiply, w8 | multiply, w4 | shift and add, w4 |")
    print("|---|---|---|---|")
    for core in KERNEL_SET:
        kinds = (LAYER, LAYER._replace(w_bits=4), LAYER._replace(kind="shift", w_bits=4))
        found = " | ".join(f"{instructions(job, core) / macs:.1f}" for job in kinds)
        print(f"| {core} | {found} |")
    print()
    print("| device | network | weights | latency | flash | RAM |")
    print("|---|---|---|---|---|---|")
    for name in ("stm32l4r5", "stm32g0b1"):
        device = load_device(name)
        for network in ("ic", "kws", "ad"):
            plain = REFERENCE_NETWORKS[network]().layers
            for title, fields in FORMATS.items():
                bits = int(str(fields["w_bits"]))
                dense = estimate([_with(x, {"w_bits": bits}) for x in plain], device)
                other = estimate([_with(x, fields) for x in plain], device)
                ratios = (
                    other.latency_ms / dense.latency_ms,
                    other.size_kb / dense.size_kb,
                    other.ram_kb / dense.ram_kb,
                )
                cells = " | ".join(f"{100 * r:.0f} %" for r in ratios)
                print(f"| {name} | {network} | {title} | {cells} |")


def _with(layer: Layer, fields: dict[str, object]) -> Layer:
    return replace(layer, **fields) if layer.is_weighted else layer  # type: ignore[arg-type]  # by name


if __name__ == "__main__":
    main()
