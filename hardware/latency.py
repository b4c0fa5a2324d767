"""Instructions that the reference kernels need for a layer on a core."""

from __future__ import annotations

from .layer import Layer

# Instructions per MAC of kernels/ in QEMU, whole MLPerf Tiny networks: weights of 8, 4, 2 bits.
_PER_MAC: dict[str, dict[str, dict[int, float]]] = {
    "dsp": {
        "conv": {8: 1.98, 4: 1.90, 2: 1.74},
        "shallow": {8: 3.87, 4: 3.91, 2: 3.81},
        "pointwise": {8: 2.28, 4: 2.15, 2: 1.99},
        "depthwise": {8: 8.66, 4: 8.66, 2: 8.66},
        "linear": {8: 3.18, 4: 3.18, 2: 3.18},
    },
    "mve": {
        "conv": {8: 0.72},
        "shallow": {8: 2.58},
        "pointwise": {8: 0.96},
        "depthwise": {8: 3.71},
        "linear": {8: 0.86},
    },
    "scalar": {
        "conv": {8: 19.6},
        "shallow": {8: 38.9},
        "pointwise": {8: 22.0},
        "depthwise": {8: 20.3},
        "linear": {8: 10.5},
    },
}
# Instructions per element, for operators without weights: add and mul per output, pools per input.
_PER_ELEMENT = {
    "add": 26.0, "sub": 26.0, "mul": 16.0, "div": 30.0, "maximum": 16.0, "minimum": 16.0,
    "concat": 2.0, "pool": 6.0, "global_pool": 6.0, "activation": 6.0, "resize": 4.0, "pad": 2.0,
    "softmax": 60.0, "layernorm": 40.0, "reshape": 0.0, "batchnorm": 0.0, "slice": 2.0,
    "transpose": 4.0,
}  # fmt: skip


def kind(layer: Layer) -> str:
    """Which kernel runs a weighted layer: conv, shallow, pointwise, depthwise or linear."""
    if layer.op == "conv":
        if all(k == 1 for k in layer.kernel):
            return "pointwise"
        return "shallow" if layer.in_channels // layer.groups <= 4 else "conv"
    return {"conv_transpose": "conv", "matmul": "linear"}.get(layer.op, layer.op)


def instructions(layer: Layer, kernels: str) -> float:
    """Instructions of one run of a layer.

    Raises:
        ValueError: No kernel for the operator.
    """
    if layer.op in ("conv", "depthwise", "conv_transpose", "linear", "matmul"):
        per_bits = _PER_MAC[kernels][kind(layer)]
        return layer.macs * per_bits.get(layer.w_bits, per_bits[8])
    if layer.op not in _PER_ELEMENT:
        raise ValueError(
            f"layer {layer.name!r}: operator {layer.op!r} has no cost model; known: "
            f"{', '.join(sorted(_PER_ELEMENT))}, conv, depthwise, conv_transpose, linear, matmul"
        )
    shape = layer.in_shape if layer.op in ("pool", "global_pool") else layer.out_shape
    elements = 1
    for size in shape:
        elements *= size
    return elements * _PER_ELEMENT[layer.op]
