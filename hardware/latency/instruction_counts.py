"""Instructions of a kernel call in closed form: linear in loop counts, fitted to the emulator.

A kernel's count is a sum of loop trips times the instructions of each body. The trips follow
from the shape; the instructions were fitted to counts of `measure.qemu` on random shapes
(`python -m hardware.measure.fit`), and lie with their error in `data/instructions.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware.latency.kernel_calls import Job

DATA = Path(__file__).parents[1] / "data" / "instructions.json"

KERNEL_SET: Mapping[str, str] = {
    "cortex-m0plus": "scalar",
    "cortex-m4": "dsp",
    "cortex-m7": "dsp",
    "cortex-m33": "dsp",
    "cortex-m55": "mve",
}
"""Kernel set of each emulated core."""

COUNTED_AS: Mapping[str, str] = {
    **{core: core for core in KERNEL_SET},
    "cortex-m85": "cortex-m55",
    "andes-d25f": "cortex-m4",
    "andes-d45": "cortex-m4",
    "rxv2": "cortex-m4",
}
"""Cores with a cost model, and the emulated one whose counts stand for each."""


@lru_cache(maxsize=65536)
def inside(size: int, out: int, kernel: int, stride: int, before: int) -> int:
    """Kernel taps that fall on data, summed over all output positions of one dimension."""
    # Summed in closed form: a dimension may have millions of positions. The first `within` windows
    # end inside the data, the first `early` ones begin before it or on its first value.
    within = min(max(-((kernel - size - before) // stride), 0), out)
    early = min(before // stride + 1, out)
    ends = within * (kernel - before) + _offsets(within, stride) + (out - within) * size
    starts = _offsets(out, stride) - _offsets(early, stride) - (out - early) * before
    return ends - starts


def _offsets(count: int, stride: int) -> int:
    """Sum of the first `count` multiples of a stride, from 0 on."""
    return stride * (count * (count - 1) // 2)


def instructions(job: Job, core: str) -> float:
    """Return the instructions of one job on a core.

    Raises:
        ValueError: no kernel for these bits on this core.
    """
    emulated = COUNTED_AS[core]
    variant, features = describe(job, KERNEL_SET[emulated])
    coefficients = _tables()[emulated].get(variant)
    if coefficients is None:
        raise ValueError(
            f"no {job.kind} kernel for {job.w_bits}-bit weights and {job.a_bits}-bit activations "
            f"on {core}"
        )
    return sum(c * f for c, f in zip(coefficients, features, strict=True))


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, tuple[float, ...]]]:
    data: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return {
        core: {name: tuple(fit["coefficients"]) for name, fit in fits.items()}
        for core, fits in data["cores"].items()
    }


def describe(job: Job, kernels: str) -> tuple[str, tuple[float, ...]]:
    """Return which variant of a kernel runs a job, and its loop counts."""
    if job.kind in ("conv", "depthwise", "linear"):
        name, features = _WEIGHTED[kernels, job.kind](job)
        return f"{name}/w{job.w_bits}a{job.a_bits}", features
    elements = job.oh * job.ow * job.oc
    if job.kind in ("avgpool", "maxpool"):
        rows, taps = _taps(job)
        pixels = job.oh * job.ow
        return job.kind, (1, pixels, elements, rows * job.ow * job.oc, taps * job.oc)
    if job.kind in ("softmax", "layernorm"):
        return job.kind, (1, job.ow, elements)
    if job.kind == "unpack":
        return _unpack(job)
    if job.kind == "shift":
        pixels, n = job.oh * job.ow, job.row_weights
        pairs = (pixels + 1) // 2
        return "shift", (1, 2 * pairs * job.kh, 2 * pairs * n, pairs * job.oc, pairs * job.oc * n)
    if job.kind == "mul":
        return job.kind, (1, job.oh * job.ow, elements)
    # Wide vectors leave a remainder that is handled one by one.
    return job.kind, (1, elements // 16, elements % 16)


def _unpack(job: Job) -> tuple[str, tuple[float, ...]]:
    stored = "bitmap" if job.stored >= 0 else "plain"
    kind = f"unpack-{stored}{'-powers' if job.power_of_two else ''}/w{job.w_bits}"
    weights = job.oc * job.ic
    if job.stored < 0:
        return kind, (1, job.oc, job.oc * (job.ic // 2), job.oc * (job.ic % 2))
    words = -(-job.ic // 4)
    return kind, (1, job.oc, job.oc * -(-job.ic // 32), job.oc * words, weights, job.stored)


def _taps(job: Job) -> tuple[int, int]:
    """Kernel rows on data over output rows, and taps on data over output pixels."""
    rows = inside(job.ih, job.oh, job.kh, job.sh, job.pads[0])
    return rows, rows * inside(job.iw, job.ow, job.kw, job.sw, job.pads[2])


def _dsp_conv(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    pairs, row_pairs = (pixels + 1) // 2, (job.oc + 1) // 2
    taps = _taps(job)[1]
    padded = pixels * job.kh * job.kw - taps
    n = job.kh * job.kw * job.ic
    fields = 32 // job.w_bits
    steps = -(-n // fields)
    common = (
        1, pixels, pixels * job.kh, taps, padded, pairs, pairs * row_pairs,
        pairs * row_pairs * steps, pairs * -(-n // 4), pixels * (-n % fields),
    )  # fmt: skip
    return ("conv-odd" if job.ic % 4 else "conv"), (*common, taps * job.ic, padded * job.ic)


def _dsp_linear(job: Job) -> tuple[str, tuple[float, ...]]:
    pairs, n = (job.oc + 1) // 2, job.ic
    fields = 32 // job.w_bits
    steps = -(-n // fields)
    return ("linear-odd" if n % 4 else "linear"), (1, n, -n % fields, pairs, pairs * steps)


def _dsp_depthwise(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    rows, taps = _taps(job)
    rows *= job.ow
    if job.oc != job.ic:
        return "depthwise-multiplied", (1, pixels, pixels * job.oc, rows * job.oc, taps * job.oc)
    blocks, rest = divmod(job.ic, 4)
    return "depthwise", (
        1, pixels, pixels * blocks, rows * blocks, taps * blocks, pixels * rest, rows * rest,
        taps * rest,
    )  # fmt: skip


def _scalar_conv(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    pairs, row_pairs = (pixels + 1) // 2, (job.oc + 1) // 2
    taps = _taps(job)[1]
    padded = pixels * job.kh * job.kw - taps
    n = job.kh * job.kw * job.ic
    per_byte = 8 // job.w_bits
    return "conv", (
        1, pixels, pixels * job.kh, taps, taps * job.ic, padded, padded * job.ic, pairs, pairs * n,
        pairs * row_pairs, pairs * row_pairs * -(-n // per_byte), pixels * (-n % per_byte),
    )  # fmt: skip


def _scalar_linear(job: Job) -> tuple[str, tuple[float, ...]]:
    pairs = (job.oc + 1) // 2
    return "linear", (1, job.ic, pairs, pairs * -(-job.ic // (8 // job.w_bits)))


def _scalar_depthwise(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    rows, taps = _taps(job)
    return "depthwise", (1, pixels, pixels * job.oc, rows * job.ow * job.oc, taps * job.oc)


def _mve_conv(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels, n = job.oh * job.ow, job.kh * job.kw * job.ic
    quads = -(-pixels // 4)
    unpacked = -(-n // (128 // job.w_bits))
    common = (
        1, pixels, quads, quads * job.oc, quads * job.oc * -(-n // 16), quads * job.oc * unpacked,
        pixels * job.oc,
    )  # fmt: skip
    if job.a_bits == 8 and job.kh == job.kw == job.sh == job.sw == 1:
        return "pointwise", common
    taps = pixels * job.kh * job.kw
    chunks = -(-job.ic // (16 if job.a_bits == 8 else 32))
    loaded = _taps(job)[1]
    return "conv", (*common, pixels * job.kh, taps, taps * chunks, loaded * chunks)


def _mve_linear(job: Job) -> tuple[str, tuple[float, ...]]:
    pairs, n = (job.oc + 1) // 2, job.ic
    return "linear", (
        1, pairs, pairs * -(-n // 16), pairs * -(-n // (128 // job.w_bits)), -(-n // 32),
    )  # fmt: skip


def _mve_depthwise(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    rows, taps = _taps(job)
    rows *= job.ow
    unpacked = job.kh * job.kw * -(-job.oc // (128 // job.w_bits))
    if job.oc != job.ic:
        return "depthwise-multiplied", (
            1, job.kh * job.kw, unpacked, pixels, pixels * job.oc, rows * job.oc, taps * job.oc,
        )  # fmt: skip
    blocks = -(-job.ic // 4)
    return "depthwise", (
        1, job.kh * job.kw, unpacked, pixels, pixels * blocks, rows * blocks, taps * blocks,
    )  # fmt: skip


_WEIGHTED: Mapping[tuple[str, str], Callable[[Job], tuple[str, tuple[float, ...]]]] = {
    ("dsp", "conv"): _dsp_conv,
    ("dsp", "linear"): _dsp_linear,
    ("dsp", "depthwise"): _dsp_depthwise,
    ("scalar", "conv"): _scalar_conv,
    ("scalar", "linear"): _scalar_linear,
    ("scalar", "depthwise"): _scalar_depthwise,
    ("mve", "conv"): _mve_conv,
    ("mve", "linear"): _mve_linear,
    ("mve", "depthwise"): _mve_depthwise,
}
