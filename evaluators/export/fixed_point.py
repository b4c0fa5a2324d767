"""Integer arithmetic that the Python reference and the C kernels share, bit by bit.

A real factor `M` becomes `multiplier * 2**-shift` with a 31-bit multiplier (gemmlowp, and TFLite's
`MultiplyByQuantizedMultiplier`), here with one rounding in 64 bits instead of two in 32. A bias
is not rounded to the accumulator's step `input scale * weight scale`, which is coarse at few
bits: it joins the 64-bit product, as `bias << bias_shift`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Numbers of any kind."""

Integers = npt.NDArray[np.int64]

_HEADROOM_BITS = 61
_MAX_SHIFT = 62
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Quantization:
    """How a tensor is stored: `real = scale * (q - zero_point)`, `low <= q <= high`.

    `kind` is the C type: uint8_t, int16_t or int32_t.
    """

    kind: str
    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return {"uint8_t": 1, "int16_t": 2, "int32_t": 4}[self.kind]

    def quantize(self, real: Array) -> Integers:
        """Rounds half to even, in float32 as torch and ONNX Runtime do."""
        steps = np.rint(real.astype(np.float32) / np.float32(self.scale)).astype(np.int64)
        return np.asarray(np.clip(steps + self.zero_point, self.low, self.high), np.int64)

    def clamped(self, low: float, high: float) -> tuple[int, int]:
        """Integer bounds of a clamp of the real value to `[low, high]`."""
        ends = [
            self.low if low == -np.inf else round(low / self.scale) + self.zero_point,
            self.high if high == np.inf else round(high / self.scale) + self.zero_point,
        ]
        a, b = (min(max(int(e), self.low), self.high) for e in ends)
        return a, b


def unsigned(scale: float, zero_point: int, bits: int) -> Quantization:
    """Storage of an activation that a layer reads, one byte each."""
    return Quantization("uint8_t", scale, zero_point, 0, 2**bits - 1)


def wide(largest: float, bits: int = 32) -> Quantization:
    """Storage of what the trained network keeps in float: operands of sums and means.

    Args:
        largest: magnitude seen in calibration; the range is 2 (16 bits) or 16 times as large.
        bits: 16 or 32.
    """
    headroom = {16: 2.0, 32: 16.0}[bits]
    limit = 2 ** (bits - 1) - 1
    step = max(largest, 1e-12) * headroom / limit
    return Quantization(f"int{bits}_t", step, 0, -limit - 1, limit)


def narrow(low: float, high: float) -> Quantization:
    """8-bit storage of the same, for a runtime that has no wide tensors."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max(high - low, 1e-12) / 255
    return unsigned(step, min(max(round(-low / step), 0), 255), 8)


@dataclass(frozen=True, eq=False)
class Requantization:
    """Per channel: `(acc * multiplier + (bias << bias_shift) + half) >> shift`.

    Attributes:
        multiplier: int32 `[C]`, not negative.
        shift: `[C]`, 1 to 62.
        bias: int32 `[C]`.
        bias_shift: `[C]`, 0 to 62.
    """

    multiplier: Integers
    shift: Integers
    bias: Integers
    bias_shift: Integers

    def words(self) -> npt.NDArray[np.int32]:
        """`[C]`: right shift in the low byte, left shift of the bias in the next one."""
        return (self.shift | (self.bias_shift << 8)).astype(np.int32)

    def __call__(self, accumulator: Integers) -> Integers:
        """Scale accumulators `[..., C]`, without zero point and clamp."""
        half = np.int64(1) << (self.shift - 1)
        product = accumulator * self.multiplier + (self.bias << self.bias_shift) + half
        return np.asarray(product >> self.shift, np.int64)


def requantization(
    factor: npt.NDArray[np.float64], bias: npt.NDArray[np.float64], largest: Integers
) -> Requantization:
    """Chooses multipliers and shifts.

    Args:
        factor: `[C]`, `accumulator scale / output scale`.
        bias: `[C]`, in steps of the output.
        largest: `[C]`, bound of |accumulator|; keeps the 64-bit sum from overflowing.

    Raises:
        ValueError: an accumulator can leave 32 bits.
    """
    if largest.size and int(largest.max()) > _INT32:
        raise ValueError(f"an accumulator can reach {int(largest.max())}, beyond int32")
    total = np.abs(bias) + largest * factor + 1.0
    room = np.floor(_HEADROOM_BITS - np.log2(total)).astype(np.int64)
    exponent = np.frexp(np.maximum(factor, 2.0**-_MAX_SHIFT))[1].astype(np.int64)
    shift = np.clip(np.minimum(31 - exponent, room), 1, _MAX_SHIFT)
    multiplier = np.rint(np.ldexp(factor, shift)).astype(np.int64)
    # Rounding up may reach 2**31: halve once more.
    shift = np.where(multiplier > _INT32, shift - 1, shift)
    multiplier = np.rint(np.ldexp(factor, shift)).astype(np.int64)
    scaled = np.ldexp(bias, shift)
    excess = np.ceil(np.log2(np.maximum(np.abs(scaled), 1.0) / _INT32)).astype(np.int64)
    bias_shift = np.maximum(excess, 0)
    small = np.rint(np.ldexp(scaled, -bias_shift)).astype(np.int64)
    return Requantization(multiplier, shift, np.clip(small, -_INT32, _INT32), bias_shift)


def scaling(factors: list[float], largest: int) -> tuple[list[int], int]:
    """Multipliers of several summands with one shift.

    Args:
        factors: `input scale / output scale` of each.
        largest: bound of every summand's magnitude.
    """
    total = sum(factors) * largest + 1.0
    room = int(_HEADROOM_BITS - np.log2(total))
    exponent = int(np.frexp(max(factors))[1])
    shift = min(max(min(30 - exponent, room), 1), _MAX_SHIFT)
    return [round(float(np.ldexp(f, shift))) for f in factors], shift
