"""What the kernels of `kernels/` run for a layer: one shape with its bits, a number of times.

The emulator counts jobs and the closed form is fitted to them, so both see a network alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .layer import Layer, Shape

KINDS = (
    "conv", "depthwise", "linear", "add", "mul", "avgpool", "maxpool", "copy", "lookup",
)  # fmt: skip
"""In the order of the enumeration in `kernels/kernels.h`."""

_BY_ELEMENT = {
    "add": "add", "sub": "add", "maximum": "add", "minimum": "add", "softmax": "add",
    "layernorm": "add", "mul": "mul", "div": "mul", "activation": "lookup", "concat": "copy",
    "resize": "copy", "pad": "copy", "slice": "copy", "transpose": "copy",
}  # fmt: skip
_FREE = frozenset({"reshape", "batchnorm"})

KNOWN_OPS = tuple(
    sorted(
        {*_BY_ELEMENT, *_FREE, "conv", "depthwise", "conv_transpose", "linear", "matmul", "pool",
         "global_pool"}
    )
)  # fmt: skip
"""Operators that have a cost."""


class Job(NamedTuple):
    """One call of a kernel; `pads` are top, bottom, left, right."""

    kind: str
    ih: int
    iw: int
    ic: int
    oh: int
    ow: int
    oc: int
    kh: int = 1
    kw: int = 1
    sh: int = 1
    sw: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    w_bits: int = 8
    a_bits: int = 8

    @property
    def row_weights(self) -> int:
        """Weights in one packed row."""
        return self.oc if self.kind == "depthwise" else self.kh * self.kw * self.ic

    @property
    def rows(self) -> int:
        """Packed rows of weights."""
        return self.kh * self.kw if self.kind == "depthwise" else self.oc


def jobs(layer: Layer) -> tuple[Job | None, int]:
    """Return the job of a layer and how often it runs; (None, 0) for one that costs nothing.

    A grouped convolution is one job per group, a linear layer over T positions a pointwise
    convolution, a transposed convolution a convolution of as many multiplications.

    Raises:
        ValueError: The operator has no kernel; the message names it.
    """
    if layer.op in _FREE:
        return None, 0
    make = {
        "conv": _convolution,
        "depthwise": _convolution,
        "conv_transpose": _transposed,
        "linear": _linear,
        "matmul": _matmul,
        "pool": _pool,
        "global_pool": _pool,
    }.get(layer.op)
    if make is not None:
        return make(layer)
    if layer.op in _BY_ELEMENT:
        kind = _BY_ELEMENT[layer.op]
        channels, (h, w) = layer.out_shape[0], _plane(layer.out_shape)
        return Job(kind, h, w, channels, h, w, channels), 1
    raise ValueError(
        f"layer {layer.name!r}: operator {layer.op!r} has no cost model; known: "
        f"{', '.join(KNOWN_OPS)}"
    )


def _plane(shape: Shape) -> tuple[int, int]:
    """Height and width of (C,), (C, L), (C, H, W) or (C, D, H, W)."""
    if len(shape) < 3:
        return 1, math.prod(shape[1:])
    return math.prod(shape[1:-1]), shape[-1]


def _pair(values: Shape) -> tuple[int, int]:
    return (1, values[0]) if len(values) == 1 else (math.prod(values[:-1]), values[-1])


def _pads(layer: Layer) -> tuple[int, int, int, int]:
    p = layer.padding
    dims = len(layer.kernel)
    full = p if len(p) == 2 * dims else tuple(v for v in p for _ in range(2))
    if dims == 1:
        return 0, 0, full[0], full[1]
    return (full[0], full[1], full[2], full[3]) if dims == 2 else (0, 0, full[-2], full[-1])


def _convolution(layer: Layer) -> tuple[Job, int]:
    ih, iw = _plane(layer.in_shape)
    oh, ow = _plane(layer.out_shape)
    depthwise = layer.op == "depthwise"
    groups = 1 if depthwise else layer.groups
    kh, kw = _pair(layer.kernel)
    sh, sw = _pair(layer.stride)
    job = Job(
        layer.op, ih, iw, layer.in_channels // groups, oh, ow, layer.out_channels // groups,
        kh, kw, sh, sw, _pads(layer), layer.w_bits, layer.a_bits,
    )  # fmt: skip
    return job, groups


def _transposed(layer: Layer) -> tuple[Job, int]:
    h, w = _plane(layer.in_shape)
    kh, kw = _pair(layer.kernel)
    pads = ((kh - 1) // 2, kh // 2, (kw - 1) // 2, kw // 2)
    job = Job(
        "conv", h, w, layer.in_channels // layer.groups, h, w,
        layer.out_channels // layer.groups, kh, kw, 1, 1, pads, layer.w_bits, layer.a_bits,
    )  # fmt: skip
    return job, layer.groups


def _linear(layer: Layer) -> tuple[Job, int]:
    positions = math.prod(layer.in_shape[:-1])
    kind = "linear" if positions == 1 else "conv"
    n, m = layer.in_channels, layer.out_channels
    return Job(kind, 1, positions, n, 1, positions, m, w_bits=layer.w_bits, a_bits=layer.a_bits), 1


def _matmul(layer: Layer) -> tuple[Job, int]:
    inner, rows = layer.in_shape[-1], math.prod(layer.in_shape[-2:-1])
    return Job("conv", 1, rows, inner, 1, rows, layer.out_shape[-1]), math.prod(layer.in_shape[:-2])


def _pool(layer: Layer) -> tuple[Job, int]:
    ih, iw = _plane(layer.in_shape)
    channels = layer.in_shape[0]
    if layer.op == "global_pool":
        return Job("avgpool", ih, iw, channels, 1, 1, channels, ih, iw), 1
    oh, ow = _plane(layer.out_shape)
    kh, kw = _pair(layer.kernel)
    sh, sw = _pair(layer.stride)
    job = Job("avgpool", ih, iw, channels, oh, ow, channels, kh, kw, sh, sw, _pads(layer))
    return job, 1
