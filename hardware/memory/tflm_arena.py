"""RAM that TensorFlow Lite Micro needs beside its tensors: the tail of its arena.

Sizes are those of tflite-micro 0.dev20261023 (`tensorflow/lite/c/common.h` and its kernels' op
data), read from its recording allocator on the MLPerf Tiny networks on a 64-bit machine. What
holds pointers is scaled to a microcontroller's four bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from hardware.ir.layer import CONV_OPS, Layer

_FIXED_POINTERS = 87
"""The interpreter's and the allocators' own objects, in pointers (700 bytes on 64 bits)."""
_NODE_POINTERS = 8
"""`NodeAndRegistration`."""
_TENSOR_POINTERS = 3
"""`TfLiteEvalTensor`: data, dimensions, and a type that is padded to a pointer."""
_PARAMS_BYTES = 27
"""An operator's parsed options, on average."""
_CHANNEL_BYTES = 8
"""Multiplier and shift of each channel of a convolution."""
_WEIGHTED_BYTES, _PLAIN_BYTES = 81, 66
"""An operator's data, with and without weights."""

MCU_POINTER, HOST_POINTER = 4, 8


def fixed_bytes(pointer: int = MCU_POINTER) -> int:
    """Bytes of the tail that a network without operators would take."""
    return pointer * (_FIXED_POINTERS + _TENSOR_POINTERS)


def layer_bytes(layer: Layer, pointer: int = MCU_POINTER) -> int:
    """Bytes of the tail that an operator adds; its output, weights and bias are tensors."""
    if layer.op == "batchnorm":
        return 0
    weighted = layer.is_weighted
    tensors = 3 if weighted else 2 if layer.op == "reshape" else 1
    size = pointer * (_NODE_POINTERS + _TENSOR_POINTERS * tensors) + _PARAMS_BYTES
    if layer.kind in CONV_OPS:
        size += _CHANNEL_BYTES * layer.out_channels
    if layer.op == "reshape":
        return size
    return size + (_WEIGHTED_BYTES if weighted else _PLAIN_BYTES)


def tail_bytes(layers: Iterable[Layer], fused: frozenset[str], pointer: int = MCU_POINTER) -> int:
    """Bytes of the tail of a network; `fused` activations are no operators of their own."""
    own = (layer for layer in layers if layer.name not in fused)
    return fixed_bytes(pointer) + sum(layer_bytes(layer, pointer) for layer in own)
