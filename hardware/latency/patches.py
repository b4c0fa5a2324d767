"""How often the C gathers the patch of an output pixel, and how many bytes it copies and fills.

`patch_at` in `kernels/kernels.h`: rows of the window that lie in the image are copied in one piece,
the rest is filled with the zero point, in words of four bytes with a remainder of single ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from hardware.latency.kernel_calls import Job


class Patches(NamedTuple):
    """What gathering takes.

    Attributes:
        gathered: patches that were put together.
        direct: patches that were read where they lie.
        copies: runs that were copied.
        copied_words: words of them.
        copied_rest: bytes behind the words.
        fills: runs that were filled.
        filled_words: words of them.
        filled_rest: bytes behind the words.
        bytewise: bytes copied one by one on cores that read words at multiples of four only.
    """

    gathered: int
    direct: int
    copies: int
    copied_words: int
    copied_rest: int
    fills: int
    filled_words: int
    filled_rest: int
    bytewise: int


class Column(NamedTuple):
    """Taps of a window that lie before, on and behind the image in one dimension."""

    left: int
    middle: int
    right: int


@lru_cache(maxsize=4096)
def columns(out: int, size: int, kernel: int, stride: int, before: int) -> tuple[Column, ...]:
    """Taps before, inside and behind the image of each output position of one dimension."""
    found = []
    for o in range(out):
        start = o * stride - before
        left, right = max(-start, 0), max(start + kernel - size, 0)
        if left > kernel or right > kernel:
            left, right = kernel, 0
        found.append(Column(left, kernel - left - right, right))
    return tuple(found)


@lru_cache(maxsize=65536)
def patches(
    ih: int, iw: int, oh: int, ow: int, kh: int, kw: int, sh: int, sw: int, top: int, left: int,
    ic: int, pitch: int, border: bool, unit: int = 4,
) -> Patches:  # fmt: skip
    """Return what gathering takes.

    Args:
        ih: height of the image; likewise the other sizes of a window's loop.
        iw: its width.
        oh: height of the output.
        ow: its width.
        kh: height of the window.
        kw: its width.
        sh: its step downwards.
        sw: its step to the right.
        top: padding above.
        left: padding on the left.
        ic: channels of a patch's pixel.
        pitch: channels of the image's pixel.
        border: whether patches within the image are read where they lie, whatever their rows.
        unit: bytes of a word; of a vector of 16 the last one may be in part, and there is no rest.
    """
    across = columns(ow, iw, kw, sw, left)
    rows = columns(oh, ih, kh, sh, top)
    whole = ic == pitch or kw == 1
    total = [0] * 9
    # Rows of output positions alike in what they miss are alike in all.
    for row, count in _counted(rows):
        for column, times in _counted(across):
            within = row.middle == kh and column.middle == kw
            direct = within if border else kh == 1 and whole and within
            n = count * times
            if direct:
                total[1] += n
                continue
            total[0] += n
            for i, v in enumerate(_runs(row, column, kw, ic, whole, unit)):
                total[2 + i] += n * v
    return Patches(*total)


@lru_cache(maxsize=65536)
def aligned_patches(
    ih: int, iw: int, oh: int, ow: int, kh: int, kw: int, sh: int, sw: int, top: int, left: int,
    ic: int, pitch: int,
) -> Patches:  # fmt: skip
    """Return what gathering takes on cores that read and write words at multiples of four only.

    A run that begins elsewhere is copied or filled byte by byte. Arguments as of `patches`.
    """
    plain = patches(ih, iw, oh, ow, kh, kw, sh, sw, top, left, ic, pitch, border=False)
    if ic % 4 == 0 and pitch % 4 == 0:
        return plain
    whole = ic == pitch or kw == 1
    counts = [0] * 6
    # Where runs begin follows from the position's remainder by four.
    down = _by_remainder(columns(oh, ih, kh, sh, top), sh, top)
    across = _by_remainder(columns(ow, iw, kw, sw, left), sw, left)
    for (row, y), rows in down.items():
        for (column, x), times in across.items():
            if kh == 1 and whole and row.middle == kh and column.middle == kw:
                continue
            for n, at, from_, is_copy in _places(row, y, column, x, kw, ic, iw, pitch, whole):
                base, fits = (0 if is_copy else 3), at % 4 == 0 and from_ % 4 == 0
                weight = rows * times
                counts[base] += weight * (n // 4) * fits
                counts[base + 1] += weight * (n % 4) * fits
                counts[base + 2] += weight * n * (not fits)
    copied, copied_rest, copied_bytes, filled, filled_rest, filled_bytes = counts
    return plain._replace(
        copied_words=copied, copied_rest=copied_rest, filled_words=filled,
        filled_rest=filled_rest + filled_bytes, bytewise=copied_bytes,
    )  # fmt: skip


def _by_remainder(
    found: Iterable[Column], stride: int, before: int
) -> dict[tuple[Column, int], int]:
    counts: dict[tuple[Column, int], int] = {}
    for o, one in enumerate(found):
        key = (one, (o * stride - before) % 4)
        counts[key] = counts.get(key, 0) + 1
    return counts


def _places(
    row: Column, y: int, column: Column, x: int, kw: int, ic: int, iw: int, pitch: int, whole: bool
) -> Iterator[tuple[int, int, int, bool]]:
    """Bytes of each run of a patch, where it goes to and comes from, and whether it is a copy."""
    run = kw * ic
    for ky in range(row.left + row.middle + row.right):
        start, line = ky * run, (y + ky) * iw * pitch
        if not row.left <= ky < row.left + row.middle:
            yield run, start, 0, False
            continue
        if whole:
            yield (
                column.middle * ic,
                start + column.left * ic,
                line + (x + column.left) * pitch,
                True,
            )
            if column.left:
                yield column.left * ic, start, 0, False
            if column.right:
                yield column.right * ic, start + (column.left + column.middle) * ic, 0, False
            continue
        for kx in range(kw):
            on = column.left <= kx < column.left + column.middle
            yield ic, start + kx * ic, line + (x + kx) * pitch if on else 0, on


def _counted(columns: Iterable[Column]) -> list[tuple[Column, int]]:
    found: dict[Column, int] = {}
    for one in columns:
        found[one] = found.get(one, 0) + 1
    return list(found.items())


def _runs(
    row: Column, column: Column, kw: int, ic: int, whole: bool, unit: int
) -> tuple[int, int, int, int, int, int]:
    """Copies and fills of one patch, each with words and rest."""
    outside = row.left + row.right
    if whole:
        copied = [(row.middle, column.middle * ic)]
        filled = [(outside, kw * ic)]
        filled += [(row.middle, n * ic) for n in (column.left, column.right) if n]
    else:
        copied = [(row.middle * column.middle, ic)]
        filled = [(outside, kw * ic), (row.middle * (column.left + column.right), ic)]
    return (*_sums(copied, unit), *_sums(filled, unit))


def _sums(runs: list[tuple[int, int]], unit: int) -> tuple[int, int, int]:
    if unit > 4:
        return sum(n for n, _ in runs), sum(n * -(-size // unit) for n, size in runs), 0
    return (
        sum(n for n, _ in runs), sum(n * (size // 4) for n, size in runs),
        sum(n * (size % 4) for n, size in runs),
    )  # fmt: skip


def aligned_patches_of(job: Job) -> Patches:
    """As `patches_of`, on cores that read and write words at multiples of four only."""
    return aligned_patches(
        job.ih, job.iw, job.oh, job.ow, job.kh, job.kw, job.sh, job.sw, job.pads[0], job.pads[2],
        job.ic, job.pitch[0] or job.ic,
    )  # fmt: skip


def patches_of(job: Job, *, border: bool = False, unit: int = 4) -> Patches:
    """Return what a kernel's call gathers; with `border` only where windows leave the image."""
    return patches(
        job.ih, job.iw, job.oh, job.ow, job.kh, job.kw, job.sh, job.sw, job.pads[0], job.pads[2],
        job.ic, job.pitch[0] or job.ic, border, unit,
    )  # fmt: skip
