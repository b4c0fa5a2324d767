"""Loop counts of the kernels that exports ship, `kernels/kernels.h` and what it includes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hardware.latency.kernel_calls import Job
from hardware.latency.loop_counts import taps_of
from hardware.latency.patches import aligned_patches_of, columns, patches_of

Features = tuple[float, ...]

_POOLED = 32
"""Channels that means and depthwise kernels in plain C add up at a time."""


def describe(job: Job, kernels: str) -> tuple[str, Features]:
    """Return which variant of a kernel runs a job, and its loop counts."""
    if job.kind == "depthwise" and job.oc != job.ic:
        # The C runs it as a convolution with a group for each channel.
        one = job._replace(kind="conv", ic=1, oc=job.oc // job.ic, pitch=(job.ic, job.oc))
        return _grouped(one, job.ic, kernels)
    if job.kind in ("conv", "linear"):
        kind = "linear" if _is_single(job) else "conv"
        return f"{kind}/w{job.w_bits}", _WEIGHTED[kernels, kind](job)
    if job.kind == "depthwise":
        return f"depthwise/w{job.w_bits}", _WEIGHTED[kernels, "depthwise"](job)
    return _plain(job, kernels)


def _grouped(one: Job, groups: int, kernels: str) -> tuple[str, Features]:
    features = _WEIGHTED[kernels, "conv"](one)
    return f"conv-groups/w{one.w_bits}", (1.0, *(groups * f for f in features))


def _is_single(job: Job) -> bool:
    """One output pixel whose patch is the image as it lies."""
    if job.kind == "linear":
        return True
    whole = job.oh == job.ow == 1 and (job.kh, job.kw) == (job.ih, job.iw) and not any(job.pads)
    part = (job.pitch[0] or job.ic) != job.ic or (job.pitch[1] or job.oc) != job.oc
    return whole and (not part or job.kh * job.kw == 1)


def _plain(job: Job, kernels: str) -> tuple[str, Features]:
    elements, pixels = job.oh * job.ow * job.oc, job.oh * job.ow
    if job.kind == "avgpool":
        return job.kind, _average(job)
    if job.kind == "maxpool":
        rows, taps = taps_of(job)
        return job.kind, (
            1, job.oh, pixels, elements, rows * job.ow, taps, taps * (job.oc // 4),
            taps * (job.oc % 4), taps * -(-job.oc // 16), pixels * (job.oc // 4),
            pixels * (job.oc % 4), pixels * -(-job.oc // 16),
        )  # fmt: skip
    if job.kind in ("softmax", "layernorm"):
        return job.kind, (1, job.ow, elements)
    if job.kind == "unpack":
        return _unpack(job)
    if job.kind == "shift":
        pairs, n = (pixels + 1) // 2, job.row_weights
        return "shift", (1, 2 * pairs * job.kh, 2 * pairs * n, pairs * job.oc, pairs * job.oc * n)
    if job.kind == "mul":
        return job.kind, (1, pixels, elements)
    unit = 4 if kernels != "mve" or job.kind == "add" else 16
    if kernels == "mve" and job.kind in ("add", "copy"):
        return job.kind, (1, -(-elements // unit))
    return job.kind, (1, elements // unit, elements % unit)


def _average(job: Job) -> Features:
    pixels, taps = job.oh * job.ow, job.kh * job.kw
    whole, rest = divmod(job.oc, _POOLED)
    blocks = whole + int(rest > 0)
    fours, ones = whole * _POOLED // 4 + rest // 4, rest % 4
    wide, narrow = job.oc // 16, -(-(job.oc % 16) // 4)
    return (
        1, job.oh, pixels, pixels * blocks, pixels * blocks * job.kh, pixels * blocks * taps,
        pixels * taps * fours, pixels * taps * ones, pixels * job.oc, pixels * job.oc * taps,
        pixels * wide, pixels * wide * job.kh, pixels * wide * taps, pixels * narrow,
        pixels * narrow * job.kh, pixels * narrow * taps, pixels * -(-job.oc // 4),
    )  # fmt: skip


def _unpack(job: Job) -> tuple[str, Features]:
    stored = "bitmap" if job.stored >= 0 else "plain"
    kind = f"unpack-{stored}{'-powers' if job.power_of_two else ''}/w{job.w_bits}"
    weights = job.oc * job.ic
    if job.stored < 0:
        return kind, (1, job.oc, job.oc * (job.ic // 4), job.oc * (job.ic % 4), weights)
    return kind, (1, job.oc, job.oc * -(-job.ic // 32), weights, job.stored)


def _words(n: int, bits: int) -> tuple[int, int]:
    """Whole words of packed weights in a row, and 1 if another one is begun."""
    fields = 32 // bits
    return n // fields, int(n % fields > 0)


def _widened(n: int, bits: int) -> Features:
    """Loops that widen one patch to 16 bits."""
    if bits == 8:
        return (n // 8, n % 8 // 4, n % 4)
    words, rest = _words(n, bits)
    last = n % (32 // bits)
    return (words, rest, last // 4, last % 4)


def _dsp_conv(job: Job) -> Features:
    pixels, n = job.oh * job.ow, job.row_weights
    pairs, twice = (pixels + 1) // 2, (job.oc + 1) // 2
    inner = _widened(n, 8) if job.w_bits == 8 else (-(-n * job.w_bits // 32),)
    return (
        1, job.oh, pixels, *patches_of(job)[:8], *(pixels * f for f in _widened(n, job.w_bits)),
        pairs, pixels % 2, pairs * twice, pairs * (job.oc % 2), *(pairs * twice * f for f in inner),
    )  # fmt: skip


def _dsp_linear(job: Job) -> Features:
    n, pairs = job.row_weights, (job.oc + 1) // 2
    once = () if job.w_bits == 8 else (n // 4, n % 4)
    return 1, pairs, job.oc, *(pairs * f for f in _dots(n, job.w_bits)), *once


def _dots(n: int, bits: int) -> Features:
    """Loops that multiply one patch with two rows."""
    if bits == 8:
        return n // 4, n % 4
    words, begun = _words(n, bits)
    rest = n % (32 // bits)
    return words, begun, rest // 4, rest % 4, rest


def _unpacked_taps(job: Job) -> Features:
    """Loops that unpack the weights of a depthwise convolution of fewer than 8 bits."""
    if job.w_bits == 8:
        return ()
    taps = job.kh * job.kw
    return taps, taps * job.ic, taps * -(-job.ic * job.w_bits // 32)


def _dsp_depthwise(job: Job) -> Features:
    pixels, taps = job.oh * job.ow, job.kh * job.kw
    rows = sum(one.middle for one in columns(job.oh, job.ih, job.kh, job.sh, job.pads[0]))
    across = [one.middle for one in columns(job.ow, job.iw, job.kw, job.sw, job.pads[2])]
    # Windows of three columns have their own loop.
    threes = across.count(3)
    # Below four channels they come one by one.
    blocks, few = (-(-job.ic // 4), 0) if job.ic >= 4 else (0, job.ic)
    starts = taps if any(job.pads) else 0
    return (
        1, job.oh, pixels, pixels * blocks, rows * threes * blocks,
        rows * (job.ow - threes) * blocks, rows * (sum(across) - 3 * threes) * blocks, pixels * few,
        rows * job.ow * few, rows * sum(across) * few, starts, starts * (job.ic // 4),
        starts * (job.ic % 4), job.ic if starts else 0, *_unpacked_taps(job),
    )  # fmt: skip


def _scalar_conv(job: Job) -> Features:
    pixels, n = job.oh * job.ow, job.row_weights
    pairs = pixels * ((job.oc + 1) // 2)
    packed = () if job.w_bits == 8 else (pixels * n,)
    return (
        1, job.oh, *aligned_patches_of(job), pairs, pixels * job.oc, pairs * n,
        *(pairs * f for f in _dots(n, job.w_bits)), *packed,
    )  # fmt: skip


def _scalar_linear(job: Job) -> Features:
    n, pairs = job.row_weights, (job.oc + 1) // 2
    packed = () if job.w_bits == 8 else (n,)
    return 1, pairs, job.oc, pairs * n, *(pairs * f for f in _dots(n, job.w_bits)), *packed


def _scalar_depthwise(job: Job) -> Features:
    pixels, taps = job.oh * job.ow, job.kh * job.kw
    blocks, on_image = -(-job.ic // _POOLED), taps_of(job)[1]
    return (
        1, job.oh, pixels, pixels * blocks, pixels * blocks * job.kh, pixels * blocks * taps,
        on_image * blocks, pixels * job.ic, on_image * job.ic, (pixels * taps - on_image) * job.ic,
        *_unpacked_taps(job),
    )  # fmt: skip


def _vectors(n: int) -> int:
    """Vectors of 16 bytes, the last one perhaps in part."""
    return -(-n // 16)


def _spread(n: int, bits: int) -> int:
    """Numbers of a patch that meet packed weights de-interleaved; the others are met in order."""
    if bits == 8:
        return 0
    group = 128 // bits
    left = n % group
    return n - left + group if left > group - 16 else n - left


def _mve_one(n: int, bits: int, rows: int) -> Features:
    """Loops over one patch, four rows at a time."""
    fours = -(-rows // 4)
    if bits == 8:
        return (fours, fours * _vectors(n))
    whole, left = divmod(n, 128 // bits)
    return (fours, fours * whole, fours * _vectors(left), _vectors(n))


def _mve_conv(job: Job) -> Features:
    n, pixels, bits = job.row_weights, job.oh * job.ow, job.w_bits
    quads, singles = divmod(pixels, 4)
    found = patches_of(job, border=True, unit=16)
    whole = job.kw == 1 or job.ic == (job.pitch[0] or job.ic)
    lines = found.direct * job.kh if job.kh > 1 and whole else 0
    part = 0 if whole else found.direct * job.kh * job.kw
    run = _vectors(job.kw * job.ic) if whole else _vectors(job.ic)
    spread = _spread(n, bits)
    vectors = _vectors(spread * bits // 8 if spread < n else -(-n * bits // 8) if spread else 0)
    rest = _vectors(max(n - spread, 0))
    patches = () if bits == 8 else (
        pixels, pixels * int(spread > 0), pixels * _vectors(n), pixels * rest,
        pixels * spread * bits // 128,
    )  # fmt: skip
    return (
        1, pixels, *found[:4], found.fills, found.filled_words, lines, lines * run, part,
        part * run, quads, quads * job.oc, quads * -(-job.oc // 4), quads * job.oc * vectors,
        quads * job.oc * rest, *(singles * f for f in _mve_one(n, bits, job.oc)), *patches,
    )  # fmt: skip


def _mve_linear(job: Job) -> Features:
    return (1, *_mve_one(job.row_weights, job.w_bits, job.oc))


def _mve_depthwise(job: Job) -> Features:
    pixels, taps, channels = job.oh * job.ow, job.kh * job.kw, job.ic
    found = patches_of(job, border=True, unit=16)
    if channels < 8:
        wide, narrow, few = 0, 0, -(-channels // 4)
    elif channels < 16:
        wide, narrow, few = 0, -(-channels // 8), 0
    else:
        # The last block ends with the last channel; one of up to eight is a narrow one.
        wide = channels // 16 + int(channels % 16 > 8)
        narrow, few = int(0 < channels % 16 <= 8), 0
    loops = [
        pixels * blocks * times for blocks in (wide, narrow, few) for times in (1, job.kh, taps)
    ]
    return (
        1, pixels, *found[:4], found.fills, found.filled_words, *loops, *_unpacked_taps(job),
    )  # fmt: skip


_WEIGHTED: Mapping[tuple[str, str], Callable[[Job], Features]] = {
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
