"""The emulated kernels against integer arithmetic in numpy, on every kind of core."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hardware.latency.kernel_calls import Job
from hardware.measure.qemu import EMULATED, count, output_shifts
from hardware.memory.weight_packing import row_bytes, unpack_rows, unpack_sparse

pytestmark = pytest.mark.usefixtures("emulator")


def random_bytes(n: int, seed: int) -> np.ndarray:
    """What `fill` of harness/main.c writes: high bytes of a linear congruential generator."""
    a = np.cumprod(np.full(n, 1664525, np.uint32), dtype=np.uint32)
    powers = np.concatenate([np.ones(1, np.uint32), a[:-1]])
    c = np.cumsum(powers * np.uint32(1013904223), dtype=np.uint32)
    return ((a * np.uint32(seed) + c) >> np.uint32(24)).astype(np.uint8)


def requantize(acc, bias, multiplier, left, right):
    return np.clip((((acc << left) * multiplier >> 32) + bias) >> right, -128, 127)


def activations(job: Job) -> np.ndarray:
    """Input of shape (ih, iw, ic); of a mean, as large as its windows."""
    channels = job.pitch[0] or job.ic  # a group has the first `ic` of them
    shape = (job.ih, job.iw, channels)
    if job.kind == "avgpool":
        shape = ((job.oh - 1) * job.sh + job.kh, (job.ow - 1) * job.sw + job.kw, channels)
    flat = random_bytes(int(np.prod(shape)), 2).view(np.int8).astype(np.int64)
    return flat.reshape(shape)[:, :, : job.ic]


POWERS = np.array([0, -64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64])


def unpacked(job: Job) -> np.ndarray:
    """Weights of an `unpack` job, `stored` of them marked evenly."""
    total = job.oc * job.ic
    if job.stored < 0:
        raw = random_bytes(job.oc * row_bytes(job.ic, job.w_bits), 1).tobytes()
        w = unpack_rows(raw, job.oc, job.ic, job.w_bits)
    else:
        steps = np.arange(total + 1) * job.stored // total
        marks = np.diff(steps).reshape(job.oc, job.ic) > 0
        bitmap = np.zeros((job.oc, row_bytes(job.ic, 1)), np.uint8)
        bits = np.packbits(marks, axis=1, bitorder="little")
        bitmap[:, : bits.shape[1]] = bits
        values = random_bytes(row_bytes(job.stored, job.w_bits), 1).tobytes()
        w = unpack_sparse(bitmap.tobytes() + values, job.oc, job.ic, job.w_bits)
        if job.power_of_two:
            return np.where(marks, POWERS[(w + 8) & 15], 0)
    return POWERS[(w + 8) & 15] if job.power_of_two else w


def softmax(x: np.ndarray) -> np.ndarray:
    table = [32767]
    for _ in range(255):
        table.append(table[-1] * 63 // 64)
    e = np.array(table)[x.max(1, keepdims=True) - x]
    return (e * (0x7FFFFFFF // e.sum(1, keepdims=True)) >> 23) - 128


def layernorm(x: np.ndarray) -> np.ndarray:
    n = x.shape[1]
    mean = np.trunc(x.sum(1, keepdims=True) / n).astype(np.int64)
    d = x - mean
    variance = (d * d).sum(1) // n
    inverse = np.array([(1 << 20) // math.isqrt((int(v) + 1) << 8) for v in variance])[:, None]
    gain = random_bytes(n, 1).view(np.int8).astype(np.int64)
    shift = np.trunc((np.arange(n) * 37 % 1000 - 500) / 16).astype(np.int64)
    return np.clip((((d * inverse) >> 10) * gain >> 7) + shift, -128, 127)


def pooled(job: Job, x: np.ndarray) -> np.ndarray:
    top, _, left, _ = job.pads if job.kind == "maxpool" else (0, 0, 0, 0)
    pools = []
    for oy in range(job.oh):
        for ox in range(job.ow):
            y0, x0 = oy * job.sh - top, ox * job.sw - left
            window = x[max(y0, 0) : y0 + job.kh, max(x0, 0) : x0 + job.kw]
            if job.kind == "maxpool":
                pools.append(window.max((0, 1)))
            else:
                pools.append(requantize(window.sum((0, 1)), 0, 1 << 30, 15, 17))
    return np.array(pools)


def weights_by_row(job: Job) -> np.ndarray:
    rows, n = job.rows, job.row_weights
    if job.kind == "depthwise" and job.oc != job.ic:
        rows, n = job.oc, job.kh * job.kw
    raw = random_bytes(rows * row_bytes(n, job.w_bits), 1).tobytes()
    w = unpack_rows(raw, rows, n, job.w_bits)
    return POWERS[w + 8] if job.kind == "shift" else w


def expected(job: Job) -> np.ndarray:
    if job.kind == "unpack":
        return unpacked(job)
    x = activations(job)
    if job.kind in ("softmax", "layernorm"):
        return (softmax if job.kind == "softmax" else layernorm)(x.reshape(job.ow, job.oc))
    if job.kind == "add":
        y = random_bytes(x.size, 3).view(np.int8).astype(np.int64).reshape(x.shape)
        return np.clip((x * 1518500 + y * 1073741 + 12345678) >> 21, -128, 127)
    if job.kind in ("avgpool", "maxpool"):
        return pooled(job, x)
    w = weights_by_row(job)
    top, bottom, left, right = job.pads
    # Powers of two as shifts are counted on inputs without their zero point.
    centred = x + 3 if job.kind == "shift" else x
    margins = ((top, bottom + job.kh), (left, right + job.kw), (0, 0))
    image = np.pad(centred, margins, constant_values=0 if job.kind == "shift" else -3)
    channels = np.arange(job.oc)
    shifts = output_shifts(job)
    bias = np.trunc((channels * 37 % 1000 - 500) * 2.0 ** shifts[1] / 16).astype(np.int64)
    out = []
    for oy in range(job.oh):
        for ox in range(job.ow):
            p = image[oy * job.sh :, ox * job.sw :][: job.kh, : job.kw]
            if job.kind == "depthwise":
                p = np.repeat(p, job.oc // job.ic, axis=2).reshape(-1, job.oc)
                acc = (p * (w if job.ic == job.oc else w.T)).sum(0)
            else:
                acc = w @ p.reshape(-1)
            out.append(requantize(acc, bias, 1518500250 + channels % 1024 * 1000, *shifts))
    return np.array(out)


def checksum(values: np.ndarray) -> int:
    total = 0
    for v in values.reshape(-1).tolist():
        total = (total * 31 + (v & 255)) & 0xFFFFFFFF
    return total


def conv(ic, oc, k=3, size=5, stride=1, w_bits=8, kind="conv"):
    out = -(-size // stride)
    total = max((out - 1) * stride + k - size, 0)
    pads = (total // 2, total - total // 2) * 2
    return Job(kind, size, size, ic, out, out, oc, k, k, stride, stride, pads, w_bits)


def all_jobs():
    made = []
    for w_bits in (8, 4, 2):
        for bits in ({"w_bits": w_bits},):
            made += [conv(ic, oc, **bits) for ic, oc in ((1, 3), (3, 8), (4, 4), (6, 7), (16, 5))]
            made += [conv(ic, oc, k=1, **bits) for ic, oc in ((5, 5), (8, 6), (33, 9))]
            made += [
                conv(8, 3, k=3, size=6, stride=2, **bits),
                conv(7, 3, size=7, stride=2, **bits),
            ]
            made += [conv(c, c, kind="depthwise", **bits) for c in (1, 3, 4, 9, 16, 22)]
            made += [conv(5, 10, kind="depthwise", size=4, stride=2, **bits)]
            made += [
                Job("linear", 1, 1, n, 1, 1, m, **bits) for n, m in ((4, 2), (37, 11), (64, 9))
            ]
    made += [Job("add", 3, 3, 5, 3, 3, 5), conv(6, 6, k=2, stride=2, size=6, kind="avgpool")]
    made += [conv(6, 6, kind="avgpool"), conv(6, 6, stride=2, kind="maxpool")]
    for w_bits in (8, 4, 2):
        for stored, powers in ((40, False), (0, False), (185, False), (-1, True), (77, True)):
            if w_bits > 2 or not powers:
                made.append(Job("unpack", 1, 1, 37, 1, 1, 5, w_bits=w_bits, stored=stored,
                                power_of_two=powers))  # fmt: skip
    made += [conv(ic, oc, k=k, w_bits=4, kind="shift") for ic, oc, k in ((3, 5, 3), (8, 4, 1))]
    made += [Job(kind, 1, 3, n, 1, 3, n) for kind in ("softmax", "layernorm") for n in (1, 10, 33)]
    grouped = [conv(4, 6), conv(8, 3, k=1), conv(3, 5, w_bits=4), conv(4, 4, stride=2)]
    made += [job._replace(pitch=(2 * job.ic, 3 * job.oc)) for job in grouped]
    return made


@pytest.mark.parametrize("core", list(EMULATED))
def test_kernels_compute_what_integer_arithmetic_says(core, tmp_path):
    made = all_jobs()
    counts = count(made, core, cache=tmp_path)
    wrong = [
        job
        for job, got in zip(made, counts, strict=True)
        if got.checksum != checksum(expected(job))
    ]
    assert not wrong, f"{len(wrong)} of {len(made)}: {wrong[:5]}"
    outputs = np.concatenate([expected(job).reshape(-1) for job in made])
    assert np.mean(np.abs(outputs) >= 127) < 0.5
    assert all(got.total >= job.oh * job.ow * job.oc for job, got in zip(made, counts, strict=True))
