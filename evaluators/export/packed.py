"""`weights.bin` and `weights.h`: everything a microcontroller stores of a network, to the byte.

Layout, little-endian. First one record per module, in the order of execution:

    int32  input zero point
    int32  output zero point
    int32  bias[C]          zero points and rounding are in it
    int32  multiplier[C]
    int32  shift[C]         byte 0: right shift; byte 1: left shift of the accumulator

then the weights of all modules: those stored with 2 or 4 bits first, 8 and 16 bits behind them,
so that every packed word is aligned. A row is one output channel, in the order (kh, kw, c_in);
of a depthwise convolution, one tap over all channels. 8-bit rows are plain int8. Narrower rows
start on a 32-bit word; weight `i` of a row is stored as `w + 2**(bits - 1)`, lowest bits first: at
bit `i * bits` of the row.

Where `power_of_two` is set, `w` is a code `c`: the weight is 0 for 0, else `2**(|c| - 1)` with the
sign of `c`.

Where `stored` is not 0, zeros are left out: a bitmap comes first, each of its rows on a 32-bit
word, bit `i % 32` of word `i // 32` set if weight `i` of the row is stored. The `stored` weights of
all rows follow as a single packed row, filled up to whole words. Such modules stand among those of
2 and 4 bits, whatever their width.

Inputs `x` are signed bytes; where a window leaves the image, `x` is the zero point. An accumulator
`acc`, the sum of `w * x`, becomes the output integer
`(((acc << left) * multiplier >> 32) + bias) >> right`, in 32 bits but for the product. This is the
flash that `hardware.flash` counts, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.export import fixed_point, recurrent
from evaluators.export.fixed_point import Quantization, Requantization
from evaluators.export.folding import FoldedModel, QuantizedLayer
from evaluators.export.integer import storage_bits
from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.steps import Convolution
from hardware import Layer
from hardware.ir.layer import POWER_OF_TWO, UNIFORM
from hardware.memory.weight_packing import pack_rows, pack_sparse, prefers_bitmap, row_bytes


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """One module as stored.

    Attributes:
        name: qualified name of the module.
        rows: integer weights `(rows, n)` in the order of storage.
        bits: width they are stored with: 2, 4, 8 or 16.
        trained_bits: width they were trained with.
        has_bias: whether a bias is stored.
        requantization: from accumulators to the output's integers.
        input_zero_point: of the input.
        output_zero_point: of the output.
        input_scale: real value of a step of the input.
        output_scale: likewise of the output; 1 where no integer network exists.
        scheme: one of `hardware.ir.layer.W_SCHEMES`.
        zeros: weights that the file leaves out, if a bitmap is the smaller form.
    """

    name: str
    rows: npt.NDArray[np.int64]
    bits: int
    trained_bits: int
    has_bias: bool
    requantization: Requantization
    input_zero_point: int
    output_zero_point: int
    input_scale: float
    output_scale: float
    scheme: str = UNIFORM
    zeros: int = 0

    @property
    def has_bitmap(self) -> bool:
        """Whether zeros are left out."""
        rows, n = self.rows.shape
        return prefers_bitmap(rows, n, self.zeros, self.bits)

    @property
    def stored(self) -> int:
        """Weights behind the bitmap, 0 without one."""
        return self.rows.size - self.zeros if self.has_bitmap else 0

    @property
    def fields(self) -> npt.NDArray[np.int64]:
        """What is stored for each weight: its integer, or the code of a power of two."""
        if self.scheme == UNIFORM:
            return self.rows
        exponents = np.log2(np.maximum(np.abs(self.rows), 1)).astype(np.int64)
        return np.where(self.rows == 0, 0, np.sign(self.rows) * (exponents + 1))

    @property
    def weights(self) -> bytes:
        """Packed weights, with the bitmap in front if there is one."""
        if self.has_bitmap:
            return pack_sparse(self.fields, self.zeros, self.bits)
        return pack_rows(self.fields, self.bits)

    @property
    def bitmap_bytes(self) -> int:
        """Bytes of the bitmap."""
        return len(self.rows) * row_bytes(self.rows.shape[1], 1) if self.has_bitmap else 0

    @property
    def record(self) -> bytes:
        """Zero points, bias, multipliers and shifts."""
        r = self.requantization
        arrays = [np.array([self.input_zero_point, self.output_zero_point])]
        arrays += [r.bias, r.multiplier, r.words()]
        return np.concatenate(arrays).astype("<i4").tobytes()


def pack(
    folded: FoldedModel, layers: Sequence[Layer], network: IntegerNetwork | None
) -> list[PackedLayer]:
    """Returns the modules in the order of execution.

    Args:
        folded: the network; every weighted module quantized.
        layers: `Result.layers`.
        network: gives the output quantization of each layer, if the kernels know the network.

    Raises:
        ValueError: a module keeps float weights: it has no packed form.
    """
    steps = {s.module: s for s in recurrent.products(network)} if network else {}
    recurrents, matrices = recurrent.modules(folded), recurrent.matrices(folded)
    packed: dict[str, PackedLayer] = {}
    for layer in layers:
        if not layer.is_weighted or layer.module in packed:
            continue
        if network is not None and layer.module in recurrents:
            for part in recurrent.MATRICES:
                name = f"{layer.module}.{part}"
                packed[name] = _from_step(matrices[name], steps[name])
            continue
        if layer.module not in folded.layers:
            raise ValueError(f"module {layer.module!r} keeps float weights: nothing to pack")
        quantized = folded.layers[layer.module]
        step = steps.get(layer.module)
        packed[layer.module] = _from_step(quantized, step) if step else _alone(quantized, layer)
    return list(packed.values())


def _from_step(layer: QuantizedLayer, step: Convolution) -> PackedLayer:
    given, output = step.inputs[0].quantization, step.output.quantization
    return PackedLayer(
        layer.name, step.rows, step.bits, layer.bits, step.has_bias, step.requantization,
        given.zero_point, output.zero_point, given.scale, output.scale, layer.scheme, layer.zeros,
    )  # fmt: skip


def _alone(layer: QuantizedLayer, described: Layer) -> PackedLayer:
    """Without an integer network: requantization to real values (output scale 1)."""
    weight = np.moveaxis(layer.weight.astype(np.int64), layer.channel_dim, 0)
    rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
    if described.op == "depthwise":
        rows = np.ascontiguousarray(rows.T)
    given = Quantization("int8_t", 1.0, 0, -1, 1)
    if layer.input is not None:
        low = -(2 ** (max(layer.input.bits, 8) - 1))
        high = low + layer.input.high
        zero_point = layer.input.zero_point + low
        given = Quantization("int8_t", layer.input.scale, zero_point, low, high)
    bias = layer.bias if layer.bias is not None else np.zeros(layer.channels)
    flat = weight.reshape(len(weight), -1)
    factor = given.scale * layer.scale.astype(np.float64)
    offset = fixed_point.folded_offset(bias.astype(np.float64), factor, flat.sum(1), given, 0)
    largest = np.abs(flat).sum(1) * -given.low
    requantization = fixed_point.requantization(factor, offset, largest)
    return PackedLayer(
        layer.name, rows, storage_bits(layer.bits), layer.bits, layer.bias is not None,
        requantization, given.zero_point, 0, given.scale, 1.0, layer.scheme, layer.zeros,
    )  # fmt: skip


def weights_file(packed: Sequence[PackedLayer]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Returns the file, and per module the offsets of its record and of its weights."""
    content = b""
    records: dict[str, int] = {}
    offsets: dict[str, tuple[int, int]] = {}
    for layer in packed:
        records[layer.name] = len(content)
        content += layer.record
    for layer in sorted(packed, key=lambda p: p.bits >= 8 and not p.has_bitmap):
        offsets[layer.name] = (records[layer.name], len(content))
        content += layer.weights
    return content, offsets


def header(packed: Sequence[PackedLayer], title: str) -> str:
    """Returns `weights.h`: a table of where everything lies in `weights.bin`."""
    content, offsets = weights_file(packed)
    layout = "\n".join(f" * {line}".rstrip() for line in (__doc__ or "").splitlines())
    rows = [
        f'    {{"{p.name}", {offsets[p.name][0]}, {offsets[p.name][1]}, {len(p.rows)}, '
        f"{p.rows.shape[1]}, {len(p.requantization.right)}, {p.bits}, {int(p.has_bias)}, "
        f"{int(p.scheme == POWER_OF_TWO)}, {p.stored}, "
        f"{np.float32(p.input_scale)!s}f, {np.float32(p.output_scale)!s}f}},"
        for p in packed
    ]
    return "\n".join(
        [
            f"/* {title}", " *", layout, " */",
            "#ifndef JOINT_GA_WEIGHTS_H", "#define JOINT_GA_WEIGHTS_H",
            "#include <stdint.h>", "",
            f"#define JOINT_GA_WEIGHTS_BYTES {len(content)}",
            f"#define JOINT_GA_MODULES {len(packed)}", "",
            "typedef struct {",
            "    const char *name;",
            "    uint32_t record, weights; /* offsets in weights.bin */",
            "    uint32_t rows, row_weights, channels;",
            "    uint8_t weight_bits, has_bias, power_of_two;",
            "    uint32_t stored; /* weights behind the bitmap, 0 without one */",
            "    float input_scale, output_scale;",
            "} joint_ga_module;", "",
            "static const joint_ga_module joint_ga_modules[JOINT_GA_MODULES] = {",
            *rows, "};", "", "#endif", "",
        ]
    )  # fmt: skip
