"""Kernel taps on data, in closed form."""

from __future__ import annotations

import itertools

from hardware.latency.loop_counts import inside


def test_taps_are_those_of_every_position_one_by_one() -> None:
    for size, out, kernel, stride, before in itertools.product(
        (1, 2, 5, 8), (1, 2, 4, 9), (1, 2, 3, 7), (1, 2, 3, 5), (0, 1, 2, 6)
    ):
        first = [o * stride - before for o in range(out)]
        expected = sum(min(f + kernel, size) - max(f, 0) for f in first)
        assert inside(size, out, kernel, stride, before) == expected


def test_a_dimension_of_millions_takes_no_time() -> None:
    assert inside(2**31 - 1, 2**31 - 1, 1, 1, 0) == 2**31 - 1
