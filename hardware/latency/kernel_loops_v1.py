"""Loop counts of the kernels that version 1 of the costs was counted on.

These kernels are gone. Their counts stay, in `data/instructions-1.json`: experiments of then go on
with them, and the factors of vendors' stacks are fitted to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hardware.latency.kernel_calls import Job
from hardware.latency.loop_counts import taps_of


def describe(job: Job, kernels: str) -> tuple[str, tuple[float, ...]]:
    """Return which variant of a kernel runs a job, and its loop counts."""
    if job.kind in ("conv", "depthwise", "linear"):
        name, features = _WEIGHTED[kernels, job.kind](job)
        return f"{name}/w{job.w_bits}a{job.a_bits}", features
    elements = job.oh * job.ow * job.oc
    if job.kind in ("avgpool", "maxpool"):
        rows, taps = taps_of(job)
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


def _dsp_conv(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    pairs, row_pairs = (pixels + 1) // 2, (job.oc + 1) // 2
    taps = taps_of(job)[1]
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
    rows, taps = taps_of(job)
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
    taps = taps_of(job)[1]
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
    rows, taps = taps_of(job)
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
    loaded = taps_of(job)[1]
    return "conv", (*common, pixels * job.kh, taps, taps * chunks, loaded * chunks)


def _mve_linear(job: Job) -> tuple[str, tuple[float, ...]]:
    pairs, n = (job.oc + 1) // 2, job.ic
    return "linear", (
        1, pairs, pairs * -(-n // 16), pairs * -(-n // (128 // job.w_bits)), -(-n // 32),
    )  # fmt: skip


def _mve_depthwise(job: Job) -> tuple[str, tuple[float, ...]]:
    pixels = job.oh * job.ow
    rows, taps = taps_of(job)
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
