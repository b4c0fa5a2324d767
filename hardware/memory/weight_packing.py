"""How quantized weights and activations lie in memory, to the byte.

Eight-bit and wider weights are stored plainly. Narrower ones are packed into little-endian
32-bit words, and every row (one output channel; one kernel tap of a depthwise convolution)
starts on a word, which is what the kernels in `kernels/` read.

A sparse layer is stored as a bitmap and the weights that it marks, or plainly where that takes
fewer bytes. Both sizes depend on counts only, so they are known before training.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hardware.ir.layer import UNPACKABLE_OPS, Layer, Shape

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
    if layer.op not in UNPACKABLE_OPS:
        return sum(rows * row_bytes(n, layer.w_bits) for rows, n in layer.matrices)
    rows, n = weight_rows(layer)
    dense = rows * row_bytes(n, layer.w_bits)
    if not layer.sparsity:
        return dense
    return min(dense, sparse_bytes(rows, n, layer.zeros, layer.w_bits))


def prefers_bitmap(rows: int, n: int, zeros: int, bits: int) -> bool:
    """Whether rows of `n` weights take fewer bytes with a bitmap of their zeros than without."""
    return sparse_bytes(rows, n, zeros, bits) < rows * row_bytes(n, bits)


def sparse_bytes(rows: int, n: int, zeros: int, bits: int) -> int:
    """Bytes of rows of `n` weights as a bitmap and the weights that are not among the zeros.

    Each row of the bitmap fills whole words, the other weights follow without gaps to whole words.
    """
    return rows * row_bytes(n, 1) + -(-(rows * n - zeros) * bits // WORD_BITS) * (WORD_BITS // 8)


def stored_sparse(layer: Layer) -> bool:
    """Whether a layer's weights are stored with a bitmap: that form is the smaller one."""
    if layer.op not in UNPACKABLE_OPS or not layer.sparsity:
        return False
    return prefers_bitmap(*weight_rows(layer), layer.zeros, layer.w_bits)


def tensor_bytes(shape: Shape, bits: int) -> int:
    """Bytes of an activation tensor; below 8 bits each pixel's channels fill whole bytes."""
    channels, positions = (shape[0], math.prod(shape[1:])) if len(shape) != 2 else shape[::-1]
    return positions * -(-channels * bits // 8)


def pack_rows(weights: NDArray[np.int64], bits: int, layout: str = "plain") -> bytes:
    """Packs signed weights, shape (rows, n), as the kernels read them; 8 bits are plain bytes.

    Below 8 bits, a weight is stored as `w + 2**(bits - 1)` and every row fills whole words.

    Args:
        weights: integers in [-2**(bits - 1), 2**(bits - 1)).
        bits: 2, 4, 8 or 16.
        layout: `plain` puts weight `i` of a row at bit `i * bits`, as scalar and vector kernels
            read it. `lanes`, for DSP cores, deals the weights of each four in the order 0, 2, 1,
            3 to the low and the high half of a word in turn, so that one mask gives the two
            16-bit lanes of a dual multiply-accumulate.

    Raises:
        ValueError: a weight does not fit, or there is no such layout.
    """
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if weights.size and (weights.min() < low or weights.max() > high):
        raise ValueError(f"weights outside [{low}, {high}] do not fit into {bits} bits")
    if bits >= 8:
        return bytes(weights.astype(f"<i{bits // 8}").tobytes())
    rows, n = weights.shape
    shifts = field_shifts(bits, layout)
    words = -(-n // len(shifts))
    fields = np.full((rows, words * len(shifts)), -low, dtype=np.uint32)
    fields[:, :n] = (weights - low).astype(np.uint32)
    shifted = fields.reshape(rows, words, len(shifts)) << shifts
    return bytes(np.bitwise_or.reduce(shifted, axis=2).astype("<u4").tobytes())


def unpack_rows(
    data: bytes, rows: int, n: int, bits: int, layout: str = "plain"
) -> NDArray[np.int64]:
    """Returns the signed weights, shape (rows, n), that `pack_rows` packed.

    Raises:
        ValueError: too few bytes, or no such layout.
    """
    if len(data) < rows * row_bytes(n, bits):
        raise ValueError(f"{len(data)} bytes do not hold {rows} rows of {n} {bits}-bit weights")
    if bits >= 8:
        plain = np.frombuffer(data, f"<i{bits // 8}", rows * n)
        return plain.reshape(rows, n).astype(np.int64)
    shifts = field_shifts(bits, layout)
    words = -(-n // len(shifts))
    packed = np.frombuffer(data, "<u4", rows * words).reshape(rows, words, 1)
    fields = (packed >> shifts) & np.uint32((1 << bits) - 1)
    return fields.reshape(rows, -1)[:, :n].astype(np.int64) - (1 << (bits - 1))


def pack_sparse(weights: NDArray[np.int64], zeros: int, bits: int) -> bytes:
    """Packs signed weights, shape (rows, n), as a bitmap and what it marks.

    Bit `i % 32` of word `i // 32` of a row's bitmap says whether weight `i` is stored. The stored
    weights of all rows follow one another as one packed row of `pack_rows`.

    Args:
        weights: integers in [-2**(bits - 1), 2**(bits - 1)).
        zeros: weights to leave out. More may be zero, after rounding: they are stored.
        bits: 2, 4, 8 or 16.

    Raises:
        ValueError: fewer weights are zero, or one does not fit.
    """
    flat = weights.reshape(-1)
    where = np.flatnonzero(flat == 0)
    if len(where) < zeros:
        raise ValueError(f"{len(where)} weights are zero, {zeros} should be")
    stored = np.ones(len(flat), np.uint8)
    stored[where[:zeros]] = 0
    rows, n = weights.shape
    bitmap = np.zeros((rows, row_bytes(n, 1)), np.uint8)
    marks = np.packbits(stored.reshape(rows, n), axis=1, bitorder="little")
    bitmap[:, : marks.shape[1]] = marks
    values = pack_rows(flat[stored == 1][None, :], bits)
    return bitmap.tobytes() + values + bytes(-len(values) % (WORD_BITS // 8))


def unpack_sparse(data: bytes, rows: int, n: int, bits: int) -> NDArray[np.int64]:
    """Returns the signed weights, shape (rows, n), that `pack_sparse` packed.

    Raises:
        ValueError: too few bytes.
    """
    stride = row_bytes(n, 1)
    if len(data) < rows * stride:
        raise ValueError(f"{len(data)} bytes do not hold the bitmap of {rows} rows of {n} weights")
    bitmap = np.frombuffer(data, np.uint8, rows * stride).reshape(rows, stride)
    stored = np.unpackbits(bitmap, axis=1, count=n, bitorder="little").reshape(-1) == 1
    weights = np.zeros(rows * n, np.int64)
    weights[stored] = unpack_rows(data[rows * stride :], 1, int(stored.sum()), bits)[0]
    return weights.reshape(rows, n)


def field_shifts(bits: int, layout: str) -> NDArray[np.uint32]:
    """Bit offset in its word of each weight of a word, in the order of the row.

    Raises:
        ValueError: no layout for these bits, or of that name.
    """
    if bits not in (2, 4):
        raise ValueError(f"no packed layout for {bits}-bit weights (use 2, 4 or 8)")
    index = np.arange(WORD_BITS // bits, dtype=np.uint32)
    if layout == "plain":
        return (index * np.uint32(bits)).astype(np.uint32)
    if layout == "lanes":
        position = (index & ~np.uint32(3)) | ((index & 1) << 1) | ((index >> 1) & 1)
        return ((position >> 1) * bits + (position & 1) * 16).astype(np.uint32)
    raise ValueError(f"layout={layout!r} must be plain or lanes")
