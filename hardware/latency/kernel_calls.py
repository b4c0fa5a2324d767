"""What the kernels of `kernels/` run for a layer: one shape with its bits, a number of times.

The emulator counts jobs and the closed form is fitted to them, so both see a network alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hardware.ir.factorization import changed
from hardware.ir.layer import CONV_OPS, FIXED, GATES, UNIFORM, VIEW_OPS, WEIGHTED_OPS, Layer, Shape
from hardware.memory.kernel_scratch import UNPACKED_ROWS
from hardware.memory.weight_packing import stored_sparse, weight_rows
from hardware.versions import FIRST, LATEST

KINDS = (
    "conv", "depthwise", "linear", "add", "mul", "avgpool", "maxpool", "copy", "lookup", "softmax",
    "layernorm", "unpack", "shift",
)  # fmt: skip
"""In the order of the enumeration in `kernels/kernels.h`."""

_BY_ELEMENT = {
    "add": "add", "sub": "add", "maximum": "add", "minimum": "add", "mul": "mul", "div": "mul",
    "activation": "lookup", "concat": "copy", "resize": "copy", "pad": "copy", "slice": "copy",
    "transpose": "copy", "copy": "copy", "elementwise": "add", "affine": "mul",
}  # fmt: skip

PRICED_BY_ELEMENTS = frozenset({"opaque", "scan"})
"""Operators without a kernel: each number that is read or written is multiplied once."""

_MATRIX_OPS = CONV_OPS | {"linear"}

KNOWN_OPS = tuple(
    sorted(
        {*_BY_ELEMENT, *VIEW_OPS, *WEIGHTED_OPS, *(FIXED + op for op in _MATRIX_OPS | GATES.keys()),
         *PRICED_BY_ELEMENTS, "matmul", "pool", "global_pool", "reduce", "softmax", "layernorm"}
    )
)  # fmt: skip
"""Operators that have a cost."""


class Job(NamedTuple):
    """One call of a kernel.

    Attributes:
        kind: one of `KINDS`.
        pads: top, bottom, left, right.
        pitch: channels of a whole pixel of the input and of the output, where a group of a
            convolution has only some of them; zeros otherwise.
        stored: weights behind a bitmap that `unpack` reads (`oc` rows of `ic` weights); -1: all
            are stored, without one.
        power_of_two: whether `unpack` reads signs and exponents.
    """

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
    pitch: tuple[int, int] = (0, 0)
    stored: int = -1
    power_of_two: bool = False

    @property
    def row_weights(self) -> int:
        """Weights in one packed row."""
        return self.oc if self.kind == "depthwise" else self.kh * self.kw * self.ic

    @property
    def rows(self) -> int:
        """Packed rows of weights."""
        return self.kh * self.kw if self.kind == "depthwise" else self.oc


Jobs = list[tuple[Job, int]]


def jobs(layer: Layer, version: int = LATEST) -> Jobs:
    """Return the jobs of a layer and how often each runs; none for one that costs nothing.

    A grouped convolution is one job per group, a linear layer over T positions a pointwise
    convolution, a transposed convolution one convolution for each phase of its stride. Weights
    that kernels cannot read as they are stored are unpacked first. From version 2 of the costs on
    a concatenation is a run of bytes for each input and pixel, as the exported C copies it.

    Raises:
        ValueError: the operator has no kernel; the message names it.
    """
    if layer.op in VIEW_OPS:
        return []
    make = {
        "conv": _convolution,
        "depthwise": _convolution,
        "conv_transpose": _transposed,
        "linear": _linear,
        "matmul": _matmul,
        "pool": _pool,
        "global_pool": _pool,
        "reduce": _reduce,
        "embedding": _embedding,
        **dict.fromkeys(GATES, _recurrent),
        **dict.fromkeys(PRICED_BY_ELEMENTS, _by_elements),
    }.get(layer.kind)
    if make is not None:
        found = make(layer)
        return _unpacked(layer, found) if needs_unpacking(layer) else found
    if layer.op in ("softmax", "layernorm"):
        # Over the channels of a (C,) or (C, H, W) tensor, over the last dimension of (T, C).
        shape = layer.out_shape
        n = shape[-1] if len(shape) == 2 else shape[0]
        n = max(layer.kernel) if layer.op == "softmax" and max(layer.kernel) > 1 else n
        rows = math.prod(shape) // n
        return [(Job(layer.op, 1, rows, n, 1, rows, n), 1)]
    if layer.op == "concat" and version != FIRST:
        shape, parts = layer.out_shape, max(len(layer.inputs), 1)
        run = -(-(shape[-1] if len(shape) == 2 else shape[0]) // parts)
        pixels = math.prod(shape[:-1] if len(shape) == 2 else shape[1:])
        return [(Job("copy", 1, 1, run, 1, 1, run), pixels * parts)]
    if layer.op in _BY_ELEMENT:
        kind = _BY_ELEMENT[layer.op]
        channels, (h, w) = layer.out_shape[0], _plane(layer.out_shape)
        return [(Job(kind, h, w, channels, h, w, channels), 1)]
    raise ValueError(
        f"layer {layer.name!r}: operator {layer.op!r} has no cost model; known: "
        f"{', '.join(KNOWN_OPS)}"
    )


def needs_unpacking(layer: Layer) -> bool:
    """Whether the kernels of plain weights cannot read a layer's weights as they are stored."""
    return layer.is_weighted and (layer.w_scheme != UNIFORM or stored_sparse(layer))


def unpacked_bytes(layer: Layer) -> int:
    """Bytes of the buffer that a layer's weights are unpacked to, some rows at a time."""
    if not needs_unpacking(layer):
        return 0
    rows, n = weight_rows(layer)
    return rows * n if layer.op == "depthwise" else min(rows, UNPACKED_ROWS) * n


def _unpacked(layer: Layer, found: Jobs) -> Jobs:
    """Jobs on weights of 8 bits in blocks of rows, behind the one that unpacks them all."""
    rows, n = weight_rows(layer)
    stored = rows * n - layer.zeros if stored_sparse(layer) else -1
    power_of_two = layer.w_scheme != UNIFORM
    blocks: Jobs = [
        (Job("unpack", 1, 1, n, 1, 1, rows, w_bits=layer.w_bits, stored=stored,
             power_of_two=power_of_two), 1)
    ]  # fmt: skip
    for job, times in found:
        whole, rest = divmod(job.oc, UNPACKED_ROWS)
        wide = job._replace(w_bits=8)
        if job.kind == "depthwise":
            blocks.append((wide, times))
            continue
        pitch = (job.pitch[0] or job.ic, job.pitch[1] or job.oc)
        blocks += [
            (wide._replace(oc=oc, pitch=pitch), times * count)
            for oc, count in ((UNPACKED_ROWS, whole), (rest, 1))
            if oc and count
        ]
    return blocks


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


def _convolution(layer: Layer) -> Jobs:
    ih, iw = _plane(layer.in_shape)
    oh, ow = _plane(layer.out_shape)
    groups = 1 if layer.kind == "depthwise" else layer.groups
    kh, kw = _pair(layer.kernel)
    sh, sw = _pair(layer.stride)
    job = Job(
        layer.kind, ih, iw, layer.in_channels // groups, oh, ow, layer.out_channels // groups,
        kh, kw, sh, sw, _pads(layer), layer.w_bits, layer.a_bits, _pitch(layer, groups),
    )  # fmt: skip
    return [(job, groups)]


def _pitch(layer: Layer, groups: int) -> tuple[int, int]:
    return (layer.in_channels, layer.out_channels) if groups > 1 else (0, 0)


def _transposed(layer: Layer) -> Jobs:
    """One convolution of stride 1 for each phase: the outputs that the same taps reach."""
    h, w = _plane(layer.in_shape)
    oh, ow = _plane(layer.out_shape)
    kh, kw = _pair(layer.kernel)
    sh, sw = _pair(layer.stride)
    top, _, left, _ = _pads(layer)
    found: Jobs = []
    for taps_h, rows, before_h in _phases(kh, sh, top, oh):
        for taps_w, columns, before_w in _phases(kw, sw, left, ow):
            pads = (before_h, max(rows - 1 + taps_h - before_h - h, 0),
                    before_w, max(columns - 1 + taps_w - before_w - w, 0))  # fmt: skip
            job = Job(
                "conv", h, w, layer.in_channels // layer.groups, rows, columns,
                layer.out_channels // layer.groups, taps_h, taps_w, 1, 1, pads, layer.w_bits,
                layer.a_bits, _pitch(layer, layer.groups),
            )  # fmt: skip
            found.append((job, layer.groups))
    return found


def _phases(kernel: int, stride: int, padding: int, out: int) -> list[tuple[int, int, int]]:
    """Taps, outputs and padding before of each phase of a transposed convolution.

    Output `o` gets input `i` through tap `o + padding - i * stride`, so those whose
    `o + padding` leave the same rest share their taps.
    """
    found = []
    for rest in range(min(stride, kernel)):
        first = (rest - padding) % stride
        taps, outputs = -(-(kernel - rest) // stride), len(range(first, out, stride))
        if outputs:
            found.append((taps, outputs, max(taps - 1 - (first + padding - rest) // stride, 0)))
    return found


def _linear(layer: Layer) -> Jobs:
    positions = math.prod(layer.in_shape[:-1])
    kind = "linear" if positions == 1 else "conv"
    n, m = layer.in_channels, layer.out_channels
    job = Job(kind, 1, positions, n, 1, positions, m, w_bits=layer.w_bits, a_bits=layer.a_bits)
    return [(job, 1)]


def _matmul(layer: Layer) -> Jobs:
    inner, rows = layer.in_shape[-1], math.prod(layer.in_shape[-2:-1])
    if layer.in_shape[:-1] != layer.out_shape[:-1]:
        # The axes of an einsum stand in any order: as one product of the same size.
        rows = math.prod(layer.out_shape[:-1])
        return [(Job("conv", 1, rows, inner, 1, rows, layer.out_shape[-1]), 1)]
    job = Job("conv", 1, rows, inner, 1, rows, layer.out_shape[-1])
    return [(job, math.prod(layer.in_shape[:-2]))]


def per_step(layer: Layer) -> list[Layer]:
    """Return the matrices of a recurrent layer as linear layers of one time step."""
    plain = {"op": "linear", "kernel": (1, 1), "bias": layer.bias, "sparsity": 0.0}
    return [
        changed(layer, in_shape=(columns,), out_shape=(rows,), **plain)
        for rows, columns in layer.matrices
    ]


def _recurrent(layer: Layer) -> Jobs:
    """Each time step: products with the input and the state, then the gates element by element.

    A gate is a table and a product, a sum or both.
    """
    steps = math.prod(layer.in_shape[:-1])
    products = [(job, times * steps) for one in per_step(layer) for job, times in _linear(one)]
    calls = layer.kernel[0] * layer.kernel[1] * steps
    gates = GATES[layer.kind] * layer.out_channels // layer.kernel[1]
    kinds = ("lookup", "mul", "add")
    return products + [(Job(kind, 1, 1, gates, 1, 1, gates), calls) for kind in kinds]


def _embedding(layer: Layer) -> Jobs:
    """A row of the table for each position; one that is packed below 8 bits is spread out."""
    n = layer.out_channels
    rows = math.prod(layer.out_shape) // n
    return [(Job("copy" if layer.w_bits >= 8 else "lookup", 1, rows, n, 1, rows, n), 1)]


def _by_elements(layer: Layer) -> Jobs:
    found = []
    for shape in (layer.in_shape, layer.out_shape):
        channels, (h, w) = shape[0], _plane(shape)
        found.append((Job("mul", h, w, channels, h, w, channels), 1))
    return found


def _reduce(layer: Layer) -> Jobs:
    """Means of as many numbers as meet in one, as pooling adds them up."""
    n = math.prod(layer.out_shape)
    taps = -(-math.prod(layer.in_shape) // n)
    return [(Job("avgpool", 1, taps, n, 1, 1, n, 1, taps), 1)]


def _pool(layer: Layer) -> Jobs:
    ih, iw = _plane(layer.in_shape)
    channels = layer.in_shape[0]
    if layer.op == "global_pool":
        return [(Job("avgpool", ih, iw, channels, 1, 1, channels, ih, iw), 1)]
    oh, ow = _plane(layer.out_shape)
    kh, kw = _pair(layer.kernel)
    sh, sw = _pair(layer.stride)
    return [(Job("avgpool", ih, iw, channels, oh, ow, channels, kh, kw, sh, sw, _pads(layer)), 1)]
