from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from evaluators.export import fold, lower
from evaluators.export.packed import header, pack, weights_file
from hardware import flash, load_device

KINDS = ["Residual", "Depthwise", "Branches", "Sequence", "Dense"]


def packed_network(network, describe, kind, bits):
    net = network(kind, bits)
    folded = fold(net.model, net.calibration, net.x[:2])
    layers = describe(net.float_model, net.x, net.calibration)
    integer = lower(folded, net.x)
    return folded, layers, integer, pack(folded, layers, integer)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_the_flash_that_hardware_counts(network, describe, kind):
    _, layers, _, modules = packed_network(network, describe, kind, lambda i: ((8, 4, 2)[i % 3], 8))
    content, _ = weights_file(modules)
    assert len(content) == flash(layers, load_device("stm32f746")).total


def unpack(content: bytes, offset: int, rows: int, n: int, bits: int) -> np.ndarray:
    """The layout as `weights.h` words it, written down a second time."""
    if bits == 8:
        return np.frombuffer(content, np.int8, rows * n, offset).reshape(rows, n)
    per_word = 32 // bits
    stride = -(-n // per_word) * 4
    out = np.zeros((rows, n), int)
    for r in range(rows):
        for i in range(n):
            (word,) = struct.unpack_from("<I", content, offset + r * stride + i // per_word * 4)
            field = word >> (bits * (i % per_word))
            out[r, i] = (field & (2**bits - 1)) - 2 ** (bits - 1)
    return out


def test_the_file_can_be_read_by_the_header_alone(network, describe):
    folded, _, integer, modules = packed_network(
        network, describe, "Depthwise", lambda i: ((4, 2, 8)[i % 3], 8)
    )
    content, _ = weights_file(modules)
    text = header(modules, "test")
    assert f"#define JOINT_GA_WEIGHTS_BYTES {len(content)}\n" in text
    table = re.findall(r'\{"([^"]+)", (\d+), (\d+), (\d+), (\d+), (\d+), (\d+), (\d+), ', text)
    assert [t[0] for t in table] == list(folded.layers)
    steps = {s.module: s for s in integer.steps if hasattr(s, "module")}
    for name, *numbers in table:
        record, weights, rows, n, channels, bits, has_bias = map(int, numbers)
        step = steps[name]
        read = unpack(content, weights, rows, n, bits)
        w = step.weight.astype(int)
        w = w[..., 0].transpose(1, 2, 0) if step.is_depthwise else w
        assert np.array_equal(read, w.reshape(rows, n)), name
        words = np.frombuffer(content, "<i4", 2 + 3 * channels, record)
        assert words[0] == step.inputs[0].quantization.zero_point
        assert words[1] == step.output.quantization.zero_point
        arrays = words[2:].reshape(-1, channels)
        assert np.array_equal(arrays[0], step.requantization.bias)
        assert np.array_equal(arrays[1], step.requantization.multiplier)
        assert np.array_equal(arrays[2] & 255, step.requantization.right)
        assert np.array_equal(arrays[2] >> 8, step.requantization.left)
        assert has_bias == step.has_bias


def test_three_bit_weights_are_stored_in_four(network, describe):
    *_, modules = packed_network(network, describe, "Dense", lambda i: (3, 8))
    assert {(m.trained_bits, m.bits) for m in modules} == {(3, 4)}


def test_without_integer_network_requantization_gives_real_values(network, describe):
    net = network("Dense", lambda i: (8, 8))
    folded = fold(net.model, net.calibration, net.x[:2])
    layers = describe(net.float_model, net.x, net.calibration)
    for module, layer in zip(pack(folded, layers, None), folded.layers.values(), strict=True):
        r = module.requantization
        assert np.allclose(r.factor, layer.scale * layer.input.scale, rtol=1e-6)
