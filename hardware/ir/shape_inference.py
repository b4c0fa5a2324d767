"""How removed channels travel through a graph: one rule per kind of operator."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

from hardware.ir.layer import CONV_OPS, GATES, Layer, Shape

_KEEP_SHAPE = frozenset({"activation", "softmax", "layernorm", "batchnorm", "affine"})
_KEEP_CHANNELS = frozenset({"pool", "global_pool", "resize", "pad"})
_ELEMENTWISE = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})


def propagate(
    layer: Layer, shapes: list[Shape], original: list[Shape], kept: int | None
) -> tuple[Shape, Shape, int]:
    """Return (in_shape, out_shape, groups) of a layer after pruning.

    Args:
        layer: the layer as it was before pruning.
        shapes: pruned shapes of its inputs, in order.
        original: their shapes before pruning.
        kept: output channels kept, for a weighted layer in a channel group.

    Raises:
        ValueError: the pruned shapes fit no longer; the message names the layer.
    """
    if shapes == original and kept in (None, layer.out_channels):
        return layer.in_shape, layer.out_shape, layer.groups
    first = shapes[0]
    if layer.kind == "linear" or layer.kind in GATES:
        out = kept if kept is not None else layer.out_channels
        return first, (*first[:-1], out), 1
    if layer.op == "embedding":
        return first, (*first, kept if kept is not None else layer.out_channels), 1
    if layer.kind in CONV_OPS:
        out, groups = _convolution(layer, first[0], kept)
        return first, (out, *layer.out_shape[1:]), groups
    if layer.op in _KEEP_SHAPE:
        return first, first, layer.groups
    if layer.op in _KEEP_CHANNELS:
        return first, (first[0], *layer.out_shape[1:]), layer.groups
    if layer.op in _ELEMENTWISE:
        return first, _broadcast(layer, shapes), layer.groups
    if layer.op == "concat":
        return first, _concat(layer, shapes, original), layer.groups
    if layer.op == "reshape":
        return first, _reshape(layer, first, original[0]), layer.groups
    if shapes == original:
        return layer.in_shape, layer.out_shape, layer.groups
    raise ValueError(
        f"layer {layer.name!r}: channels removed before op {layer.op!r} cannot be followed "
        "through it; mark the channel groups that feed it as not prunable"
    )


def cut(layer: Layer, removed: Mapping[str, int]) -> tuple[Shape, Shape, int, int]:
    """Return (in_shape, out_shape, groups, params) of a layer that says how its sizes follow.

    Args:
        layer: the layer as it was before pruning.
        removed: blocks of `step` channels that are gone, by channel group.

    Raises:
        ValueError: more is removed than there is; the message names the layer.
    """
    sizes = {"in": list(layer.in_shape), "out": list(layer.out_shape), "groups": [layer.groups]}
    sizes["params"] = [layer.params]
    for what, dim, group, size in layer.cuts:
        sizes[what][dim] -= size * removed.get(group, 0)
    if min(sizes["in"] + sizes["out"] + sizes["groups"]) < 1 or sizes["params"][0] < 0:
        raise ValueError(
            f"layer {layer.name!r}: its cuts remove more than it has: in {sizes['in']}, out "
            f"{sizes['out']}, groups {sizes['groups']}, params {sizes['params']} would be left"
        )
    return tuple(sizes["in"]), tuple(sizes["out"]), sizes["groups"][0], sizes["params"][0]


def check_cuts(layers: Sequence[Layer], groups: Container[str]) -> None:
    """Compares the groups that layers' cuts name with those that there are.

    Raises:
        ValueError: there is no such group, or a layer has no such dimension.
    """
    for layer in layers:
        dims = {"in": len(layer.in_shape), "out": len(layer.out_shape), "groups": 1, "params": 1}
        for found in layer.cuts:
            if found.group not in groups or found.dim >= dims[found.what]:
                raise ValueError(
                    f"layer {layer.name!r}: {found} names no channel group or no dimension of it"
                )


def operator_left(layer: Layer, in_shape: Shape, out_shape: Shape, groups: int) -> str:
    """Return the operator that a layer is after pruning, by which its weights are stored.

    A grouped convolution with one channel left in each group is a depthwise one; a depthwise one
    with a single channel is an ordinary one.
    """
    if layer.op == "conv" and 1 < groups == in_shape[0] == out_shape[0]:
        return "depthwise"
    return "conv" if layer.op == "depthwise" and groups == 1 else layer.op


def _convolution(layer: Layer, channels: int, kept: int | None) -> tuple[int, int]:
    """Output channels and groups; whole groups are removed where the counts say so."""
    ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    out = kept
    if out is None:
        out = layer.out_channels if layer.groups == 1 else channels * outs // ins
    if layer.groups == 1:
        return out, 1
    if layer.kind != "depthwise" and channels % layer.groups == 0 and out % layer.groups == 0:
        # NNI removes the same number of channels inside every group.
        return out, layer.groups
    if channels % ins == 0 and out == channels // ins * outs:
        return out, channels // ins
    raise ValueError(
        f"layer {layer.name!r}: {channels} input and {out} output channels do not make groups "
        f"of {ins} and {outs}; put both in one channel group with step={math.lcm(ins, outs)}"
    )


def _broadcast(layer: Layer, shapes: list[Shape]) -> Shape:
    rank = max(len(s) for s in shapes)
    # (C,) against (C, H, W) is a per-channel factor, so shapes are aligned on the channels.
    full = [s + (1,) * (rank - len(s)) for s in shapes]
    out = []
    for dims in zip(*full, strict=True):
        sizes = {d for d in dims if d != 1}
        if len(sizes) > 1:
            raise ValueError(
                f"layer {layer.name!r}: op {layer.op!r} got shapes {shapes}; layers that meet "
                "in an element-wise operator must be in one channel group"
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def _concat(layer: Layer, shapes: list[Shape], original: list[Shape]) -> Shape:
    for axis in range(len(layer.out_shape)):
        if sum(s[axis] for s in original) == layer.out_shape[axis] and all(
            s[:axis] + s[axis + 1 :] == layer.out_shape[:axis] + layer.out_shape[axis + 1 :]
            for s in original
        ):
            total = sum(s[axis] for s in shapes)
            return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    raise ValueError(
        f"layer {layer.name!r}: inputs {original} do not concatenate to {layer.out_shape}"
    )


def _reshape(layer: Layer, shape: Shape, original: Shape) -> Shape:
    before, after = math.prod(original), math.prod(shape)
    # The channels stay outermost in a flatten, and innermost where a (T, C) tensor is split.
    axis = -1 if len(original) > 1 and shape[0] == original[0] and len(layer.out_shape) > 1 else 0
    size = layer.out_shape[axis] * after
    if size % before:
        raise ValueError(
            f"layer {layer.name!r}: {original} pruned to {shape} cannot be reshaped to the "
            f"layout of {layer.out_shape}"
        )
    out = list(layer.out_shape)
    out[axis] = size // before
    return tuple(out)


def input_shapes(layers: Sequence[Layer]) -> Mapping[str, Shape]:
    """Shapes of a network's inputs (names that no layer produces), by name."""
    made = {layer.name for layer in layers}
    found: dict[str, Shape] = {}
    for layer in layers:
        for i, name in enumerate(layer.inputs):
            if name in made:
                continue
            shape = layer.in_shape if i == 0 else layer.out_shape
            if i == 0 or name not in found:
                found[name] = shape
    return found
