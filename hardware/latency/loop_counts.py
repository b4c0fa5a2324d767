"""How often loops over windows run, in closed form."""

from __future__ import annotations

from functools import lru_cache

from hardware.latency.kernel_calls import Job


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


def taps_of(job: Job) -> tuple[int, int]:
    """Kernel rows on data over output rows, and taps on data over output pixels."""
    rows = inside(job.ih, job.oh, job.kh, job.sh, job.pads[0])
    return rows, rows * inside(job.iw, job.ow, job.kw, job.sw, job.pads[2])
