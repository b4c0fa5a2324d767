"""Fits the closed form to counts of the emulator: `python -m hardware.measure.fit`.

Shapes are drawn at random for each kernel; the relative error is minimized with non-negative
coefficients, since no loop has a negative number of instructions. A fifth of the shapes is kept
back, and the error on them is written beside the coefficients.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import TypedDict

import numpy as np

from hardware.cores import KERNEL_SET
from hardware.latency.instruction_counts import DESCRIBE, table_file
from hardware.latency.kernel_calls import Job
from hardware.measure.qemu import EMULATED, compiler_version, count
from hardware.versions import LATEST

SHAPES = 120
"""Random shapes of each kernel and pair of bit-widths: a choice; a fifth of them is kept back."""
SEED = 0


class Fit(TypedDict):
    """What `data/instructions-N.json` holds of a kernel: instructions per loop trip, and errors."""

    coefficients: list[float]
    mean_error_pct: float
    max_error_pct: float
    shapes: int


def main() -> None:
    """Count random shapes on every core and write `data/instructions-N.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=table_file(LATEST))
    args = parser.parse_args()
    cores = {core: fit_core(core) for core in EMULATED}
    data = {"compiler": compiler_version(), "cores": cores}
    args.output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    for core, fits in cores.items():
        worst = max(fits, key=lambda name: float(fits[name]["max_error_pct"]))
        mean = np.mean([fit["mean_error_pct"] for fit in fits.values()])
        print(f"{core}: {len(fits)} kernels, mean error {mean:.2f} % on shapes kept back; ", end="")
        print(f"worst {worst}: {fits[worst]['max_error_pct']} %")


def fit_core(core: str) -> dict[str, Fit]:
    """Return coefficients and errors in percent of every kernel of a core."""
    shapes = random_jobs(random.Random(SEED))
    counts = count(shapes, core)
    rows: dict[str, list[tuple[tuple[float, ...], int]]] = defaultdict(list)
    for job, counted in zip(shapes, counts, strict=True):
        variant, features = DESCRIBE[LATEST](job, KERNEL_SET[core])
        rows[variant].append((features, counted.total))
    return {variant: _fit(pairs) for variant, pairs in sorted(rows.items())}


def _fit(pairs: list[tuple[tuple[float, ...], int]]) -> Fit:
    from scipy.optimize import nnls

    features = np.array([f for f, _ in pairs], dtype=float)
    totals = np.array([t for _, t in pairs], dtype=float)
    relative = features / totals[:, None]
    scale = np.maximum(np.abs(relative).max(axis=0), 1e-12)
    kept = np.arange(len(pairs)) % 5 == 0
    trial = nnls(relative[~kept] / scale, np.ones(int((~kept).sum())), maxiter=10_000)[0] / scale
    errors = 100 * np.abs(features[kept] @ trial / totals[kept] - 1)
    coefficients = nnls(relative / scale, np.ones(len(pairs)), maxiter=10_000)[0] / scale
    return {
        "coefficients": [round(float(c), 4) for c in coefficients],
        "mean_error_pct": round(float(errors.mean()), 3),
        "max_error_pct": round(float(errors.max()), 3),
        "shapes": len(pairs),
    }


def random_jobs(rng: random.Random) -> list[Job]:
    """Draw shapes as small networks have them, every kernel and every pair of bit-widths."""
    jobs: list[Job] = []
    for w_bits in (8, 4, 2):
        for _ in range(SHAPES):
            jobs += [
                _conv(rng, "conv", w_bits, aligned=True),
                _conv(rng, "conv", w_bits, aligned=False),
                _conv(rng, "depthwise", w_bits, aligned=rng.random() < 0.5),
                _linear(rng, w_bits),
                _linear(rng, w_bits),
            ]
        jobs += [_multiplied(rng, w_bits) for _ in range(SHAPES)]
    for _ in range(SHAPES):
        jobs += [_pool(rng, kind) for kind in ("avgpool", "maxpool")]
        jobs += [_elements(rng, kind) for kind in ("add", "mul", "copy", "lookup")]
        jobs += [_row_wise(rng, kind) for kind in ("softmax", "layernorm")]
        jobs += [_unpack(rng, w_bits) for w_bits in (8, 4, 2)]
        jobs.append(_conv(rng, "conv", 4, aligned=True)._replace(kind="shift"))
    return jobs


def _row_wise(rng: random.Random, kind: str) -> Job:
    rows, n = rng.randint(1, 12), round(2 ** rng.uniform(1, 9))
    return Job(kind, 1, rows, n, 1, rows, n)


def _unpack(rng: random.Random, w_bits: int) -> Job:
    n, m = round(2 ** rng.uniform(0, 9.5)), round(2 ** rng.uniform(0, 6))
    powers = w_bits > 2 and rng.random() < 0.7
    # Plain weights are read as they are stored.
    stored = -1 if powers and rng.random() < 0.5 else round(n * m * rng.random())
    return Job("unpack", 1, 1, n, 1, 1, m, w_bits=w_bits, stored=stored, power_of_two=powers)


def _channels(rng: random.Random, aligned: bool, high: int) -> int:
    size = round(2 ** rng.uniform(0, np.log2(high)))
    if aligned:
        return -(-size // 4) * 4
    return size if size % 4 else size + rng.randint(1, 3)


def _window(rng: random.Random) -> tuple[int, int, int, int, int, int, tuple[int, int, int, int]]:
    kh, kw = rng.choice([(1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (10, 4), (1, 3), (7, 7), (2, 2)])
    stride = rng.choice([1, 1, 2])
    ih, iw = rng.randint(1, 14), rng.randint(1, 14)
    if rng.random() < 0.25:
        ih, iw = max(ih, kh), max(iw, kw)
        return kh, kw, stride, ih, iw, 0, (0, 0, 0, 0)
    pads = [max((-(-s // stride) - 1) * stride + k - s, 0) for s, k in ((ih, kh), (iw, kw))]
    top, left = pads[0] // 2, pads[1] // 2
    return kh, kw, stride, ih, iw, 1, (top, pads[0] - top, left, pads[1] - left)


def _shape(
    rng: random.Random,
) -> tuple[int, int, int, int, int, int, int, int, tuple[int, int, int, int]]:
    kh, kw, stride, ih, iw, same, pads = _window(rng)
    oh = -(-ih // stride) if same else (ih - kh) // stride + 1
    ow = -(-iw // stride) if same else (iw - kw) // stride + 1
    return ih, iw, oh, ow, kh, kw, stride, stride, pads


def _conv(rng: random.Random, kind: str, w_bits: int, aligned: bool) -> Job:
    ih, iw, oh, ow, kh, kw, sh, sw, pads = _shape(rng)
    ic = _channels(rng, aligned, 96)
    oc = ic if kind == "depthwise" else round(2 ** rng.uniform(0, 6.5))
    return Job(kind, ih, iw, ic, oh, ow, oc, kh, kw, sh, sw, pads, w_bits)


def _multiplied(rng: random.Random, w_bits: int) -> Job:
    ih, iw, oh, ow, kh, kw, sh, sw, pads = _shape(rng)
    ic = rng.randint(1, 12)
    oc = ic * rng.randint(2, 4)
    return Job("depthwise", ih, iw, ic, oh, ow, oc, kh, kw, sh, sw, pads, w_bits)


def _linear(rng: random.Random, w_bits: int) -> Job:
    n, m = _channels(rng, rng.random() < 0.5, 724), round(2 ** rng.uniform(0, 9.5))
    return Job("linear", 1, 1, n, 1, 1, m, w_bits=w_bits)


def _pool(rng: random.Random, kind: str) -> Job:
    ih, iw, oh, ow, kh, kw, sh, sw, pads = _shape(rng)
    c = rng.randint(1, 64)
    return Job(kind, ih, iw, c, oh, ow, c, kh, kw, sh, sw, pads)


def _elements(rng: random.Random, kind: str) -> Job:
    h, w, c = rng.randint(1, 12), rng.randint(1, 12), rng.randint(1, 64)
    return Job(kind, h, w, c, h, w, c)


if __name__ == "__main__":
    main()
