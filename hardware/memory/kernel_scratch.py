"""RAM that the C kernels of `hardware/kernels/` use while one layer runs, to the byte.

`kernels.h` states the same sizes. They hold for every core, since an export does not know where it
will be compiled for.
"""

from __future__ import annotations

import math

from hardware.ir.layer import UNIFORM, Layer
from hardware.memory.weight_packing import stored_sparse

UNPACKED_ROWS = 8
"""Rows of weights that are unpacked at a time, where kernels cannot read them as they are stored.

The kernels then run on these rows alone, over the whole input: eight rows make gathering patches
again and again cheap, and keep the buffer small.
"""

_ROUNDED = 16


def convolution_scratch(
    row_weights: int, rows: int, *, is_coded: bool, is_single: bool, is_pointwise: bool
) -> int:
    """Bytes of a convolution or linear layer.

    Args:
        row_weights: weights of an output channel.
        rows: output channels of a group.
        is_coded: whether the weights are stored behind a bitmap or as powers of two.
        is_single: whether there is one output pixel and its patch is the input as it lies.
        is_pointwise: whether every patch is one pixel of the image.
    """
    unpacked = _rounded(min(rows, UNPACKED_ROWS) * row_weights) if is_coded else 0
    # Two patches of 16-bit numbers or four of bytes, and where the bytes of one are gathered.
    patches = 0 if is_single else 4 if is_pointwise else 5
    return unpacked + patches * _rounded(row_weights)


def depthwise_scratch(taps: int, channels: int, *, is_plain: bool, leaves_image: bool) -> int:
    """Bytes of a depthwise convolution.

    Args:
        taps: of the window.
        channels: of the image.
        is_plain: whether the weights are stored as bytes, all of them.
        leaves_image: whether a window can reach beyond the image.
    """
    unpacked = 0 if is_plain else _rounded(taps * channels)
    return unpacked + (max(taps, 4) * channels if leaves_image else 0)


def layer_scratch(layer: Layer) -> int:
    """Bytes of a layer of a network's description; 0 for all but convolutions and linear layers."""
    is_coded = layer.is_weighted and (layer.w_scheme != UNIFORM or stored_sparse(layer))
    if layer.kind == "depthwise" and layer.op == "depthwise":
        plane_in, plane_out = layer.in_shape[1:], layer.out_shape[1:]
        leaves = any(layer.padding) or any(
            (o - 1) * s + k > i
            for i, o, k, s in zip(plane_in, plane_out, layer.kernel, layer.stride, strict=False)
        )
        return depthwise_scratch(
            math.prod(layer.kernel), layer.out_channels,
            is_plain=layer.w_bits == 8 and not is_coded, leaves_image=leaves,
        )  # fmt: skip
    if layer.kind == "linear":
        single = math.prod(layer.in_shape[:-1]) == 1
        return convolution_scratch(
            layer.in_channels, layer.out_channels, is_coded=is_coded, is_single=single,
            is_pointwise=True,
        )  # fmt: skip
    if layer.kind not in ("conv", "depthwise", "conv_transpose"):
        return 0
    whole = layer.kernel == layer.in_shape[1:] and not any(layer.padding) and layer.groups == 1
    return convolution_scratch(
        layer.row_weights, layer.out_channels // max(layer.groups, 1),
        is_coded=is_coded, is_single=whole and math.prod(layer.out_shape[1:]) == 1,
        is_pointwise=math.prod(layer.kernel) == 1 and not any(layer.padding),
    )  # fmt: skip


def _rounded(size: int) -> int:
    return -(-size // _ROUNDED) * _ROUNDED
