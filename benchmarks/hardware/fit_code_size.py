"""Fits the flash of the exported C beside its weights, and writes `hardware/data/c_code-2.json`.

`python -m benchmarks.hardware.fit_code_size`

Small networks that use one kernel after another are exported and compiled for each core. What
`.text` and `.rodata` hold beside the bytes of `weights.bin` is taken apart by non-negative least
squares: a part for each kernel that is linked, and one for each call. A fifth of the networks is
kept back.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

from benchmarks.hardware.untrained import Made, export, export_named, mixed
from hardware import Network, estimate, load_device
from hardware.measure.exported import sizes
from hardware.measure.qemu import EMULATED
from hardware.memory import c_flash
from hardware.memory.arena import arena_of
from hardware.memory.planner import fused_activations, tensor_shapes
from hardware.versions import LATEST

OUTPUT = Path(c_flash.__file__).parents[1] / "data" / f"c_code-{LATEST}.json"


class _Both(nn.Module):
    """Two layers side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 8, H, W) to the same."""
        return torch.cat([torch.relu(self.one(x)), torch.relu(self.other(x))], 1)


class Blocks(nn.Module):
    """A stem, then one block for each letter, then a mean and a classifier.

    c: convolution, d: depthwise, p: pointwise, a: sum with what went in, m: max pool, v: average
    pool, g: two groups, k: concatenation, l: a linear layer more.
    """

    shape = (3, 12, 12)

    def __init__(self, letters: str) -> None:
        super().__init__()
        self.letters = letters
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.parts = nn.ModuleList([self._part(letter) for letter in letters])
        self.more = nn.Linear(8, 8) if "l" in letters else nn.Identity()
        self.fc = nn.Linear(8, 5)

    @staticmethod
    def _part(letter: str) -> nn.Module:
        conv: dict[str, Callable[[], nn.Module]] = {
            "c": lambda: nn.Conv2d(8, 8, 3, padding=1),
            "a": lambda: nn.Conv2d(8, 8, 3, padding=1),
            "d": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8),
            "g": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=2),
            "p": lambda: nn.Conv2d(8, 8, 1),
            "k": _Both,
            "m": lambda: nn.MaxPool2d(2),
            "v": lambda: nn.AvgPool2d(2, 1),
        }
        return conv.get(letter, nn.Identity)()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 12, 12) to (N, 5)."""
        x = torch.relu(self.stem(x))
        for letter, part in zip(self.letters, self.parts, strict=True):
            if letter == "a":
                x = torch.relu(x + part(x))
            elif letter in "cdgp":
                x = torch.relu(part(x))
            else:
                x = part(x)
        x = x.mean((2, 3))
        out: torch.Tensor = self.fc(torch.relu(self.more(x)) if "l" in self.letters else x)
        return out


CASES = (
    ("", "plain"), ("c", "plain"), ("c", "mixed"), ("ccc", "plain"), ("c", "sparse"),
    ("cc", "powers"), ("d", "plain"), ("dpdp", "mixed"), ("p", "plain"), ("pppp", "plain"),
    ("a", "plain"), ("aa", "mixed"), ("cc", "w4"), ("c", "w2"), ("m", "plain"), ("cmcm", "plain"),
    ("g", "plain"),
    ("cg", "plain"), ("k", "plain"), ("ckk", "plain"), ("cl", "plain"), ("adpm", "plain"),
    ("dpdpdpdp", "plain"), ("akm", "plain"), ("v", "plain"), ("vcv", "plain"), ("vvd", "plain"),
)  # fmt: skip
"""Blocks of each network, and how its weights are stored: one of `genes_of`."""


def genes_of(kind: str) -> Callable[[Network], dict[str, object]]:
    """Chromosome of a network: `plain`, `mixed`, `w4`, `w2`, `sparse` or `powers`."""

    def genes(network: Network) -> dict[str, object]:
        if kind == "plain":
            return {}
        if kind == "mixed":
            return mixed(network)
        if kind in ("w4", "w2"):
            return {f"{n}.w_bits": int(kind[1]) for n in network.gene_layers}
        name = "sparsity" if kind == "sparse" else "w_scheme"
        value: object = 0.8 if kind == "sparse" else "power_of_two"
        params: dict[str, object] = {f"{n}.{name}": value for n in network.gene_layers[1:-1]}
        return params | {f"{n}.w_bits": 4 for n in network.gene_layers[1:-1]}

    return genes


def features(made: Made) -> dict[str, int]:
    """How often each kernel is called, and 1 for each part that is linked."""
    found: Counter[str] = Counter()
    fused = fused_activations(made.layers)
    for layer in made.layers:
        if layer.name in fused:
            continue
        for unit in c_flash.units_of(layer):
            found[f"units/{unit}"] = 1
        for call, count in c_flash.calls_of(layer).items():
            found[f"calls/{call}"] += count
    bits = [layer.a_bits for layer in made.layers]
    copied = arena_of(made.layers, "c").copied(tensor_shapes(made.layers), bits)
    found["calls/copy"] = len(copied)
    if copied:
        found["units/sum"] = 1
    found["base"] = 1
    return dict(found)


def fit(rows: Sequence[tuple[Mapping[str, int], int]]) -> tuple[c_flash.CodeSize, float]:
    """Bytes of each part, and the largest error on rows that were kept back, in bytes."""
    names = sorted({name for found, _ in rows for name in found})
    matrix = np.array([[found.get(name, 0) for name in names] for found, _ in rows], float)
    bytes_of = np.array([size for _, size in rows], float)
    kept = np.arange(len(rows)) % 5 == 4
    trial = nnls(matrix[~kept], bytes_of[~kept])[0]
    error = float(np.abs(matrix[kept] @ trial - bytes_of[kept]).max())
    parts = dict(zip(names, (round(float(v)) for v in nnls(matrix, bytes_of)[0]), strict=True))

    def of(kind: str) -> dict[str, int]:
        return {n.split("/", 1)[1]: v for n, v in parts.items() if n.startswith(f"{kind}/")}

    return {"base": parts["base"], "units": of("units"), "calls": of("calls")}, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    device = load_device("stm32l4r5")
    rows: dict[str, list[tuple[dict[str, int], int]]] = {core: [] for core in EMULATED}
    with tempfile.TemporaryDirectory() as name:
        made = [
            export(Blocks(letters), Blocks.shape, Path(name) / str(i), genes_of(kind))
            for i, (letters, kind) in enumerate(CASES)
        ]
        made += [export_named(n, Path(name) / n) for n in ("digits", "ad")]
        for one in made:
            weights = round(estimate(one.layers, device).size_kb * 1024)
            for core, found in rows.items():
                code, constants, _ = sizes(one.folder, core)
                found.append((features(one), code + constants - weights))
    data = {}
    for core, found in rows.items():
        data[core], error = fit(found)
        print(f"{core}: {len(found)} networks, at most {error:.0f} bytes off on those kept back")
    args.output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
