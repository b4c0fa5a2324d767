"""How quantized weights and activations lie in memory, to the byte.

Eight-bit and wider weights are stored plainly. Narrower ones are packed into little-endian
32-bit words so that one mask and shift gives two 16-bit lanes at once, which is what the
kernels in `kernels/` read; every row (one output channel; one kernel tap of a depthwise
convolution) starts on a word.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .layer import Layer, Shape

WORD_BITS = 32


def weight_rows(layer: Layer) -> tuple[int, int]:
    """Rows of a weighted layer as stored, and the weights in each: (rows, n).

    A depthwise convolution is stored tap by tap, over all channels; everything else by output
    channel.
    """
    if layer.op == "depthwise":
        return math.prod(layer.kernel), layer.out_channels
    return layer.out_channels, layer.row_weights


def row_bytes(n: int, bits: int) -> int:
    """Bytes of one row of `n` weights: whole words below 8 bits, plain bytes otherwise."""
    if bits >= 8:
        return n * -(-bits // 8)
    return -(-n * bits // WORD_BITS) * (WORD_BITS // 8)


def weight_bytes(layer: Layer) -> int:
    """Bytes of a layer's packed weights, 0 if it has none."""
    if not layer.is_weighted:
        return 0
    rows, n = weight_rows(layer)
    return rows * row_bytes(n, layer.w_bits)


def tensor_bytes(shape: Shape, bits: int) -> int:
    """Bytes of an activation tensor; below 8 bits each pixel's channels fill whole bytes."""
    channels, positions = (shape[0], math.prod(shape[1:])) if len(shape) != 2 else shape[::-1]
    return positions * -(-channels * bits // 8)


def pack_rows(weights: NDArray[np.int64], bits: int) -> bytes:
    """Pack signed weights, shape (rows, n), as the kernels read them.

    Below 8 bits, weight `i` of a row is stored as `w + 2**(bits - 1)`. A word holds 32/bits of
    them: weights 2j and 2j+1 go to bit j*bits of the low and of the high half-word, so a mask
    of one field in each half yields a pair ready for a dual multiply-accumulate.

    Raises:
        ValueError: A weight does not fit, or the bits do not divide a half-word.
    """
    rows, n = weights.shape
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if weights.size and (weights.min() < low or weights.max() > high):
        raise ValueError(f"weights outside [{low}, {high}] do not fit into {bits} bits")
    if bits == 8:
        return bytes(weights.astype(np.int8).tobytes())
    if bits not in (2, 4):
        raise ValueError(f"no packed layout for {bits}-bit weights (use 2, 4 or 8)")
    per_word = WORD_BITS // bits
    words = -(-n // per_word)
    fields = np.full((rows, words * per_word), 1 << (bits - 1), dtype=np.uint32)
    fields[:, :n] = (weights + (1 << (bits - 1))).astype(np.uint32)
    pairs = fields.reshape(rows, words, per_word // 2, 2)
    shifts = (np.arange(per_word // 2, dtype=np.uint32) * bits).astype(np.uint32)
    packed = np.bitwise_or.reduce(
        (pairs[..., 0] << shifts) | (pairs[..., 1] << (shifts + np.uint32(16))), axis=2
    )
    return bytes(packed.astype("<u4").tobytes())
