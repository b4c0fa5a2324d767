"""The exported C on five cores: instructions of each layer beside CMSIS-NN's, flash, RAM, stack.

`python benchmarks/hardware/deployed.py [--network digits] [--core cortex-m4] [--layers]`

Instructions are counted in the emulator, and compared with what the cost model promised. The
networks have random weights: neither depends on them. `cmsis_nn_counts.csv` holds the counts of
CMSIS-NN 99f736a (Apache-2.0) for the same layers, built with the same compiler at -Ofast.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.hardware.untrained import NETWORKS, Made, export_named
from hardware import Device, cost_function, load_device
from hardware.latency.layer_instructions import layer_instructions
from hardware.measure.exported import Exported, measure
from hardware.measure.qemu import EMULATED, QemuError
from hardware.memory.planner import fused_activations

DEVICE_OF = {
    "cortex-m0plus": "rp2040",
    "cortex-m4": "stm32l4r5",
    "cortex-m7": "stm32f746",
    "cortex-m33": "stm32u575",
    "cortex-m55": "corstone300",
}
_CMSIS = Path(__file__).with_name("cmsis_nn_counts.csv")
_CMSIS_CORES = {"m0": "cortex-m0plus", "m4": "cortex-m4", "m7": "cortex-m7", "m55": "cortex-m55"}
_CMSIS_NETWORKS = {"resnet8-w8": "resnet8", "digits-w8": "digits"}


def promised(made: Made, device: Device) -> float:
    """Instructions that the cost model says one inference takes."""
    costs = cost_function(made.network, device)(made.params)
    return costs["latency_ms"] * 1000 * device.clock_mhz / device.runtime.kappa


def cmsis_nn() -> Mapping[tuple[str, str], list[tuple[str, int]]]:
    """Kinds and instructions of CMSIS-NN's calls in order, by network and core."""
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    with _CMSIS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["network"] in _CMSIS_NETWORKS:
                key = (_CMSIS_NETWORKS[row["network"]], _CMSIS_CORES[row["core"]])
                found.setdefault(key, []).append((row["kind"], int(row["cmsis_nn_instructions"])))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=sorted(NETWORKS))
    parser.add_argument("--core", action="append", choices=sorted(EMULATED))
    parser.add_argument("--layers", action="store_true", help="also a table for each network")
    args = parser.parse_args()
    rivals = cmsis_nn()
    tables = []
    pairs: Pairs = {}
    print(_HEAD)
    for name in args.network or NETWORKS:
        for kind in ("int8", "mixed"):
            with tempfile.TemporaryDirectory() as folder:
                made = export_named(name, Path(folder) / "c", kind)
                for core in args.core or EMULATED:
                    try:
                        found = measure(made.folder, core)
                    except QemuError as error:
                        print(f"| {name} {kind} | {core} | {error} |" + " |" * 10, flush=True)
                        continue
                    rival = rivals.get((name, core)) if kind == "int8" else None
                    print(_row(f"{name} {kind}", core, made, found, rival), flush=True)
                    for call, (kind_of_call, theirs) in zip(found.calls, rival or (), strict=False):
                        pair = (call.instructions, theirs)
                        pairs.setdefault((kind_of_call, core), []).append(pair)
                    if args.layers:
                        tables.append(_layers(f"{name} {kind}, {core}", made, core, found, rival))
    for table in tables:
        print(f"\n{table}")
    print(f"\n{_by_kind(pairs)}")


Pairs = dict[tuple[str, str], list[tuple[int, int]]]
"""Instructions of our calls and of CMSIS-NN's, by kind of layer and core."""


def _by_kind(pairs: Pairs) -> str:
    """Our instructions over CMSIS-NN's for each kind of layer: of all its calls, and of one."""
    lines = ["| Kind | Core | Calls | Ratio | Least | Most |", "|---" * 6 + "|"]
    for (kind, core), found in sorted(pairs.items()):
        ratios = [ours / theirs for ours, theirs in found]
        whole = sum(ours for ours, _ in found) / sum(theirs for _, theirs in found)
        lines.append(
            f"| {kind} | {core} | {len(found)} | {whole:.2f} | {min(ratios):.2f} | "
            f"{max(ratios):.2f} |"
        )
    return "\n".join(lines)


_HEAD = (
    "| Network | Core | Instructions | CMSIS-NN | Ratio | Promised | Off by | Code | Tables and "
    "weights | flash_kb says | Arena | ram_kb says | Stack |\n" + "|---" * 13 + "|"
)


def _row(
    title: str, core: str, made: Made, found: Exported, rival: list[tuple[str, int]] | None
) -> str:
    device = load_device(DEVICE_OF[core])
    costs = cost_function(made.network, device)(made.params)
    said = promised(made, device)
    theirs = sum(n for _, n in rival) if rival else 0
    flash = found.code + found.constants
    cells: Iterable[object] = (
        title, core, f"{found.instructions:,}", f"{theirs:,}" if theirs else "-",
        f"{found.instructions / theirs:.2f}" if theirs else "-", f"{said:,.0f}",
        f"{said / found.instructions - 1:+.1%}", f"{found.code:,}", f"{found.constants:,}",
        f"{costs['flash_kb'] * 1024 / flash - 1:+.1%}", f"{found.arena:,}",
        f"{round(costs['ram_kb'] * 1024) - found.arena:+d}", f"{found.stack:,}",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _promised_calls(made: Made, core: str) -> dict[str, float]:
    """Instructions by the name of the call: of the activation that an operator runs in itself."""
    fused = fused_activations(made.layers)
    named = {layer.inputs[0]: layer.name for layer in made.layers if layer.name in fused}
    counts = layer_instructions(made.layers, core)
    found: dict[str, float] = {}
    for layer, count in zip(made.layers, counts, strict=True):
        if count:
            found[named.get(layer.name, layer.name).replace(".", "_")] = count
    return found


def _layers(
    title: str, made: Made, core: str, found: Exported, rival: list[tuple[str, int]] | None
) -> str:
    """Counted, promised and CMSIS-NN's instructions of each call."""
    said = _promised_calls(made, core)
    head = "| Call | Counted | Promised | CMSIS-NN | Ratio |"
    lines = [f"{title}\n", head, "|---" * 5 + "|"]
    for i, call in enumerate(found.calls):
        theirs = rival[i][1] if rival is not None else 0
        own = said.get(call.layer)
        lines.append(
            f"| {call.layer} | {call.instructions:,} | {'-' if own is None else f'{own:,.0f}'} | "
            f"{f'{theirs:,}' if theirs else '-'} | "
            f"{f'{call.instructions / theirs:.2f}' if theirs else '-'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
