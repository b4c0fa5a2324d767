"""Integer arithmetic that the Python reference and the C kernels share, bit by bit.

A layer's accumulator becomes the output's integer in 32 bits: `((acc << left) * multiplier >> 32)
+ bias) >> right`. The left shift fills the accumulator's word, so that the upper word of the
product keeps some 2**-18 of an output's step; the bias is in those units too, finer than in steps
of the accumulator, which are coarse at few bits. It also holds the zero points and the half that
rounds: the kernels multiply inputs as they are stored.
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
_LARGEST_BYTE = 128
"""Magnitude of the largest stored byte."""

_LARGEST_OUTPUT = 2.0**30
"""Output steps that requantization can reach; beyond them it saturates."""

_TERMS_BITS = 30


def nibbles(values: Array) -> npt.NDArray[np.uint8]:
    """Packs integers of -8 to 7 as ONNX and TFLite do: the first of two in the low half of a byte.

    The last byte of an odd number of them has zeros in its high half.
    """
    flat = values.astype(np.int8).reshape(-1)
    even = np.concatenate([flat, np.zeros(len(flat) % 2, np.int8)]).view(np.uint8) & 15
    return np.asarray(even[0::2] | (even[1::2] << 4), np.uint8)


class AccumulatorError(ValueError):
    """A layer can add up more than an accumulator of 32 bits holds."""


@dataclass(frozen=True)
class Quantization:
    """How a tensor is stored: `real = scale * (q - zero_point)`, `low <= q <= high`.

    `kind` is the C type: int8_t, int16_t or int32_t.
    """

    kind: str
    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return {"int8_t": 1, "int16_t": 2, "int32_t": 4}[self.kind]

    @property
    def levels(self) -> int:
        """Steps between the lowest and the highest integer."""
        return self.high - self.low

    @property
    def unsigned_zero_point(self) -> int:
        """The zero point where the lowest integer is called 0."""
        return self.zero_point - self.low

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


def byte(scale: float, zero_point: int, bits: int) -> Quantization:
    """Storage of an activation that a layer reads: one signed byte each, from -128 on.

    Args:
        scale: real value of a step.
        zero_point: integer of 0.0 among `0 .. 2**bits - 1`.
        bits: up to 8.
    """
    low = -_LARGEST_BYTE
    return Quantization("int8_t", scale, zero_point + low, low, low + 2**bits - 1)


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
    return byte(step, min(max(round(-low / step), 0), 255), 8)


@dataclass(frozen=True, eq=False)
class Requantization:
    """Per channel: `(((acc << left) * multiplier >> 32) + bias) >> right`.

    Attributes:
        multiplier: int32 `[C]`, not negative.
        left: `[C]`, 0 to 31.
        right: `[C]`, 0 to 30.
        bias: int32 `[C]`.
    """

    multiplier: Integers
    left: Integers
    right: Integers
    bias: Integers

    @property
    def factor(self) -> npt.NDArray[np.float64]:
        """`[C]`: output steps of a unit of the accumulator."""
        exponent = self.left - 32 - self.right
        return np.asarray(np.ldexp(self.multiplier.astype(np.float64), exponent))

    def words(self) -> npt.NDArray[np.int32]:
        """`[C]`: right shift in the low byte, left shift in the next one."""
        return (self.right | (self.left << 8)).astype(np.int32)

    def __call__(self, accumulator: Integers) -> Integers:
        """Integers of the output for accumulators `[..., C]`, before the clamp."""
        upper = ((accumulator << self.left) * self.multiplier) >> 32
        return np.asarray((upper + self.bias) >> self.right, np.int64)


def requantization(
    factor: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], largest: Integers
) -> Requantization:
    """Chooses multipliers and shifts.

    Where a layer can reach 2**30 steps of its output, as one whose inputs were all zero in
    calibration, factor and offset saturate: the output then is clamped anyway.

    Args:
        factor: `[C]`, `accumulator scale / output scale`.
        offset: `[C]`, in steps of the output, what is added: the bias and the zero points.
        largest: `[C]`, bound of |accumulator|.

    Raises:
        AccumulatorError: an accumulator can leave 32 bits.
    """
    largest = np.maximum(largest, 1)
    if int(largest.max(initial=1)) > _INT32:
        raise AccumulatorError(f"an accumulator can reach {int(largest.max())}, beyond int32")
    factor = np.minimum(factor, 0.5 * _LARGEST_OUTPUT / largest)
    offset = np.clip(offset, -0.5 * _LARGEST_OUTPUT, 0.5 * _LARGEST_OUTPUT)
    left = 31 - np.frexp(largest.astype(np.float64))[1].astype(np.int64)
    reach = largest * factor + np.abs(offset) + 1.0
    room = np.floor(30.0 - np.log2(reach)).astype(np.int64)
    exponent = np.frexp(np.maximum(factor, 2.0**-_MAX_SHIFT))[1].astype(np.int64)
    right = np.maximum(np.minimum(room, left - 1 - exponent), 0)
    multiplier = np.rint(np.ldexp(factor, right + 32 - left)).astype(np.int64)
    # Half a step rounds the output. That the upper word is rounded down changes nothing.
    bias = np.ceil(np.ldexp(offset + 0.5, right) - 0.5).astype(np.int64)
    return Requantization(np.minimum(multiplier, _INT32), left, right, bias)


def folded_offset(
    bias: npt.NDArray[np.float64],
    factor: npt.NDArray[np.float64],
    row_sums: Integers,
    given: Quantization,
    output_zero_point: int,
) -> npt.NDArray[np.float64]:
    """The offset of `requantization` for accumulators of inputs as they are stored.

    Args:
        bias: `[C]`, in steps of the output.
        factor: `[C]`, as there.
        row_sums: `[C]`, sums of the integer weights of each channel.
        given: storage of the input.
        output_zero_point: of the output.
    """
    return np.asarray(bias - given.zero_point * row_sums * factor + output_zero_point)


def scaling(factors: list[float], largest: int) -> tuple[list[int], int]:
    """Multipliers of several summands with one shift, for sums in 64 bits.

    Args:
        factors: `input scale / output scale` of each.
        largest: bound of every summand's magnitude.
    """
    total = sum(factors) * largest + 1.0
    room = int(_HEADROOM_BITS - np.log2(total))
    exponent = int(np.frexp(max(factors))[1])
    shift = min(max(min(30 - exponent, room), 1), _MAX_SHIFT)
    return [round(float(np.ldexp(f, shift))) for f in factors], shift


def byte_scaling(factors: list[float]) -> tuple[list[int], int] | None:
    """The same for one or two bytes, summed in 32 bits; None if these can't hold the sum."""
    total = 2.0 * _LARGEST_BYTE * (sum(factors) + 1.0) + 2.0
    shift = int(np.floor(_TERMS_BITS - np.log2(total)))
    if shift < 1 or len(factors) > 2:
        return None
    return [round(float(np.ldexp(f, shift))) for f in factors], shift
