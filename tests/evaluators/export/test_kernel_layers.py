"""Single layers of any shape and storage on emulated cores, against the Python reference."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.export import emulate, fixed_point
from evaluators.export.c_code import write_c
from evaluators.export.graph import Window
from evaluators.export.integer_network import IntegerNetwork, Output
from evaluators.export.packed import PackedLayer
from evaluators.export.steps import Convolution, Tensor
from hardware.ir.layer import POWER_OF_TWO, UNIFORM

pytestmark = pytest.mark.usefixtures("emulator")

FORMATS = [(8, UNIFORM, 0.0), (4, UNIFORM, 0.0), (2, UNIFORM, 0.0), (4, POWER_OF_TWO, 0.0),
           (8, UNIFORM, 0.7), (4, POWER_OF_TWO, 0.8), (2, UNIFORM, 0.8)]  # fmt: skip
"""Bits, scheme, share of zeros that are left out."""


def integer_weights(rng, shape, bits, scheme, zeros):
    low = 2 ** (bits - 1)
    w = rng.integers(-low, low, shape)
    if scheme == POWER_OF_TWO:
        w = np.where(w < 0, -1, 1) * 2 ** rng.integers(0, 7, shape)
    left_out = int(zeros * w.size)
    if left_out:
        w.reshape(-1)[rng.permutation(w.size)[:left_out]] = 0
    return w.astype(np.int8), left_out


def layer(seed: int, kind: str) -> tuple[IntegerNetwork, PackedLayer]:
    """One layer of random shape, whose outputs fill their range."""
    rng = np.random.default_rng(seed)
    bits, scheme, zeros = FORMATS[seed % len(FORMATS)]
    h, w = (1, 1) if kind == "linear" else (int(rng.integers(1, 8)), int(rng.integers(3, 9)))
    groups = {"depthwise": int(rng.integers(1, 40)), "grouped": 3}.get(kind, 1)
    ic = groups * (1 if kind == "depthwise" else int(rng.integers(1, 45)))
    oc = groups * (1 if kind == "depthwise" else int(rng.integers(1, 20)))
    flat = kind in ("linear", "pointwise")
    kernel = (1, 1) if flat else (int(rng.integers(1, min(h, 4) + 1)), int(rng.integers(1, 4)))
    dilation = tuple(int(rng.integers(1, 3)) if k == 2 and s > 3 else 1
                     for k, s in zip(kernel, (h, w), strict=True))  # fmt: skip
    padding = (0, 0) if flat else tuple(int(rng.integers(0, k)) for k in kernel)
    stride = (1, 1) if kind == "linear" else tuple(int(v) for v in rng.integers(1, 3, 2))
    out = tuple(
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip((h, w), padding, dilation, kernel, stride, strict=True)
    )
    weight, left_out = integer_weights(rng, (oc, *kernel, ic // groups), bits, scheme, zeros)
    rows = weight.astype(np.int64).reshape(oc, -1)
    # Inputs below 8 bits, outputs of other widths and bounds within the type.
    given = fixed_point.byte(0.05, int(rng.integers(0, 16)) * (1 if seed % 3 else 8), 8 - seed % 2)
    spread = max(float(np.sqrt((rows**2).sum(1).mean())), 1.0) * 40 * 0.05
    output = fixed_point.byte(spread / 40, 100, 8)
    if seed % 5 == 4:
        output = fixed_point.wide(spread * 64, (16, 32)[seed % 2])
    factor = given.scale * rng.uniform(0.5, 1.5, oc) / output.scale
    offset = fixed_point.folded_offset(
        rng.normal(0, 20, oc), factor, rows.sum(1), given, output.zero_point
    )
    scaling = fixed_point.requantization(factor, offset, np.abs(rows).sum(1) * 128)
    bounds = (output.low, output.high) if seed % 4 else (output.low // 2, output.high // 2)
    x, y = Tensor("x", (h, w, ic), given), Tensor("y", (*out, oc), output)
    step = Convolution(
        "layer", (x,), y, bounds, "layer", weight, bits, True, scaling,
        Window(kernel, stride, padding, dilation), groups, scheme, left_out,
    )  # fmt: skip
    packed = PackedLayer(
        "layer", step.rows, bits, bits, True, scaling, given.zero_point, output.zero_point,
        given.scale, output.scale, scheme, left_out,
    )  # fmt: skip
    return IntegerNetwork(x, (Output("", y, 3),), (step,)), packed


KINDS = ["conv", "pointwise", "depthwise", "grouped", "linear"]
CASES = [
    *(("cortex-m4", kind, seed) for kind in KINDS for seed in range(3)),
    *(("cortex-m0plus", kind, seed) for seed, kind in enumerate(KINDS, 4)),
    *(("cortex-m7", kind, seed) for seed, kind in enumerate(KINDS[:3], 9)),
    *(("cortex-m33", kind, seed) for seed, kind in enumerate(KINDS[1:4], 12)),
    *(("cortex-m55", kind, seed) for seed, kind in enumerate(KINDS, 15)),
]


@pytest.mark.parametrize(("core", "kind", "seed"), CASES)
def test_a_layer_of_random_shape(core, kind, seed, tmp_path):
    network, packed = layer(7 * KINDS.index(kind) + seed, kind)
    h, w, c = network.input.shape
    write_c(network, [packed], tmp_path / "c", "test", example=np.zeros((1, c, h, w)))
    q = network.input.quantization
    inputs = np.random.default_rng(seed).integers(q.low, q.high + 1, (2, h, w, c))
    wanted = network.run_integers(inputs)
    assert np.array_equal(emulate.run(tmp_path / "c", network, inputs, core), wanted)
    assert np.ptp(wanted) > 0 or wanted.size < 8
