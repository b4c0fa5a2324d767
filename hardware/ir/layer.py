"""What a network consists of, as far as its costs go: layers and tied channel groups."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from hardware.ir.finite import LARGEST_SIZE, is_size, shortened

CONV_OPS = frozenset({"conv", "depthwise", "conv_transpose"})
"""Convolutions."""

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
"""Recurrent operators, and the blocks of rows in each of their matrices."""

WEIGHTED_OPS = CONV_OPS | {"linear", "embedding"} | GATES.keys()
"""Operators that hold weights, and so have bit genes and can lose output channels."""

UNPACKABLE_OPS = CONV_OPS | {"linear"}
"""Operators whose weights may be stored sparse or as powers of two."""

FIXED = "fixed_"
"""Before the name of an operator with weights: no quantizer reaches them, so that they stay float.

They are among `Layer.params`; beside that such a layer costs what the operator without it does.
"""

VIEW_OPS = frozenset({"reshape", "batchnorm"})
"""Operators that do nothing at run time: their output is their input's bytes."""

BIT_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32)
"""Bit-widths a tensor can have; a device may support fewer (`Device.weight_bits`)."""

UNIFORM, POWER_OF_TWO = "uniform", "power_of_two"
W_SCHEMES = (UNIFORM, POWER_OF_TWO)
"""Values that a weight's integers take: all of its width, or zero and powers of two."""

Shape = tuple[int, ...]

# More than any operator has (padding counts twice); products of them stay within a float.
_MOST_DIMS = 8

_INPUT_NAME = re.compile(r"input(_?\d+)?")


def is_input_name(name: str) -> bool:
    """Whether a name stands for an input of the network: input, input1, input_1, ..."""
    return _INPUT_NAME.fullmatch(name) is not None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is an int or a float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_bits(value: object, what: str) -> int:
    """Return `value` as an int bit-width.

    Raises:
        ValueError: it is not one of `BIT_WIDTHS`.
    """
    if not is_number(value) or value not in BIT_WIDTHS:
        raise ValueError(f"{what}={shortened(value)} is not a bit-width (use one of {BIT_WIDTHS})")
    return int(value)


def _are_texts(values: object) -> bool:
    return (
        isinstance(values, Iterable)
        and not isinstance(values, str)
        and all(isinstance(value, str) for value in values)
    )


def _dims(values: object, what: str, low: int) -> Shape:
    if not isinstance(values, Iterable):
        raise ValueError(f"{what}={shortened(values)} must be a tuple of integers")
    dims = tuple(values)
    for v in dims:
        if not is_size(v, low):
            raise ValueError(
                f"{what}={shortened(values)} must hold integers >= {low}, up to {LARGEST_SIZE}"
            )
    if len(dims) > _MOST_DIMS:
        raise ValueError(f"{what}={shortened(values)} has more than {_MOST_DIMS} dimensions")
    return dims


CUT_KINDS = ("in", "out", "groups", "params")


class LayerCut(NamedTuple):
    """What a layer loses with each unit that is removed from a channel group.

    Attributes:
        what: ``in`` or ``out``: a dimension of that shape; ``groups``; ``params``.
        dim: index of the dimension, 0 for ``groups`` and ``params``.
        group: name of the channel group.
        size: entries of the dimension, groups or numbers for one unit.
    """

    what: str
    dim: int
    group: str
    size: int


def _cuts(values: object, where: str) -> tuple[LayerCut, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ValueError(f"{where}cuts={shortened(values)} must be a list of cuts")
    found = []
    for value in values:
        parts = tuple(value) if isinstance(value, (tuple, list)) else ()
        if (
            len(parts) != len(LayerCut._fields)
            or parts[0] not in CUT_KINDS
            or not is_size(parts[1], 0)
            or not isinstance(parts[2], str)
            or not is_size(parts[3])
        ):
            raise ValueError(
                f"{where}cut {shortened(value)} must be [{', '.join(LayerCut._fields)}], with "
                f"what one of {', '.join(CUT_KINDS)}"
            )
        found.append(LayerCut(*parts))
    return tuple(found)


@dataclass(frozen=True)
class Layer:
    """One operator of a network, with batch-norm already folded into it.

    Attributes:
        name: unique in its network; the first call of a module carries the module's name.
        op: conv, depthwise, conv_transpose, linear, add, mul, concat, pool, global_pool,
            activation, reshape, resize, softmax, matmul, layernorm, ... (see `costs`).
        inputs: producing layers, in the order of the call; `"input"` (or `"input_1"`,
            ...) is an input of the network.
        in_shape: shape of the first input without batch: (C, H, W), (C, L), (C,); (T, C) for
            a `linear` that acts on the last dimension.
        out_shape: shape of the output, without batch.
        kernel: kernel size, one number per spatial dimension. Of a recurrent layer: stacked
            layers, directions, and the width of the state where a projection follows it; of an
            embedding: rows of the table; of softmax: entries of a row, 1 for those of its channels.
        stride: stride, likewise.
        padding: one number per spatial dimension, or two (before, after, before, after) where
            the padding is asymmetric, as TensorFlow's SAME is.
        groups: groups of a convolution; of a depthwise one its input channels.
        bias: whether a bias (4 bytes per output channel; two per row of a recurrent layer's
            gates) is stored.
        w_bits: bits of a weight.
        a_bits: bits of the input activations; of an embedding, of a position in its table.
        module: qualified name of the module whose weights it uses; layers with the same module
            share them, so flash holds them once.
        w_scheme: one of `W_SCHEMES`. Of powers of two, the sign and the exponent are stored, in
            `w_bits` as well.
        sparsity: fraction of the weights that are zero, anywhere in the layer; see `zeros`.
        params: further numbers that are stored for it, beside `weights` and bias: scale and shift
            of a norm that isn't folded, slopes, tables, constants.
        cuts: how its sizes follow the channel groups; empty: by the rules for its `op`.

    Raises:
        ValueError: a field is out of its range, named in the message.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    in_shape: Shape
    out_shape: Shape
    kernel: Shape = (1, 1)
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    groups: int = 1
    bias: bool = True
    w_bits: int = 8
    a_bits: int = 8
    module: str = ""
    w_scheme: str = UNIFORM
    sparsity: float = 0.0
    params: int = 0
    cuts: tuple[LayerCut, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ValueError(
                f"a layer's name must be a non-empty string, got {shortened(self.name)}"
            )
        where = f"layer {self.name!r}: "
        if not self.op or not isinstance(self.op, str):
            raise ValueError(f"{where}op={shortened(self.op)} must be a non-empty string")
        if not _are_texts(self.inputs):
            raise ValueError(
                f"{where}inputs={shortened(self.inputs)} must be a tuple of layer names"
            )
        if not isinstance(self.module, str):
            raise ValueError(f"{where}module={shortened(self.module)} must be a module's name")
        if not isinstance(self.bias, bool):
            raise ValueError(f"{where}bias={shortened(self.bias)} must be true or false")
        if not self.inputs:
            raise ValueError(f"{where}it has no input (a network's input is named 'input')")
        put = object.__setattr__
        put(self, "inputs", tuple(self.inputs))
        for field, low in (("in_shape", 1), ("out_shape", 1), ("kernel", 1), ("stride", 1)):
            put(self, field, _dims(getattr(self, field), where + field, low))
        put(self, "padding", _dims(self.padding, where + "padding", 0))
        if not self.in_shape or not self.out_shape:
            raise ValueError(f"{where}a shape is empty; shapes are (C, H, W), (C, L) or (C,)")
        if not is_size(self.groups):
            raise ValueError(f"{where}groups={shortened(self.groups)} must be an integer >= 1")
        put(self, "w_bits", check_bits(self.w_bits, where + "w_bits"))
        put(self, "a_bits", check_bits(self.a_bits, where + "a_bits"))
        if self.w_scheme not in W_SCHEMES:
            raise ValueError(
                f"{where}w_scheme={shortened(self.w_scheme)} must be one of {', '.join(W_SCHEMES)}"
            )
        if not is_number(self.sparsity) or not 0 <= self.sparsity < 1:
            raise ValueError(
                f"{where}sparsity={shortened(self.sparsity)} must be a number in [0, 1)"
            )
        if not is_size(self.params, 0):
            raise ValueError(f"{where}params={shortened(self.params)} must be an integer >= 0")
        put(self, "cuts", _cuts(self.cuts, where))
        if self.kind in CONV_OPS:
            self._check_convolution(where)
        elif self.kind in GATES and len(self.kernel) not in (2, 3):
            raise ValueError(
                f"{where}kernel={self.kernel!r} of a recurrent layer must hold its stacked layers "
                "and directions"
            )

    def _check_convolution(self, where: str) -> None:
        dims = len(self.kernel)
        if len(self.padding) not in (dims, 2 * dims):
            raise ValueError(
                f"{where}padding={self.padding!r} must have {dims} numbers, or {2 * dims} "
                "(before and after each dimension)"
            )
        if len(self.stride) != dims:
            raise ValueError(f"{where}stride={self.stride!r} must have {dims} numbers")
        for what, channels in (("input", self.in_shape[0]), ("output", self.out_shape[0])):
            if channels % self.groups:
                raise ValueError(
                    f"{where}{channels} {what} channels do not divide into groups={self.groups}"
                )

    @property
    def is_weighted(self) -> bool:
        """Whether the operator holds weights that can be quantized."""
        return self.op in WEIGHTED_OPS

    @property
    def kind(self) -> str:
        """The operator that runs, without `FIXED`."""
        return self.op.removeprefix(FIXED)

    @property
    def _channels_last(self) -> bool:
        return self.kind == "linear" or self.kind == "embedding" or self.kind in GATES

    @property
    def in_channels(self) -> int:
        """Input channels: the first dimension, or the last one of a linear or recurrent layer."""
        return self.in_shape[-1] if self._channels_last else self.in_shape[0]

    @property
    def out_channels(self) -> int:
        """Output channels: the first dimension, or the last one of a linear or recurrent layer."""
        return self.out_shape[-1] if self._channels_last else self.out_shape[0]

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the weights as matrices; none of an operator without weights.

        A recurrent layer has two for each stacked layer and direction, of the input and of the
        state, and one more where the state is projected.
        """
        if self.kind == "embedding":
            return ((self.kernel[0], self.out_channels),)
        if self.kind not in GATES:
            return ((self.out_channels, self.row_weights),) if self.row_weights else ()
        layers, directions = self.kernel[:2]
        out = self.out_channels // directions
        state = self.kernel[2] if len(self.kernel) == 3 else out
        rows = GATES[self.kind] * state
        found: list[tuple[int, int]] = []
        for depth in range(layers):
            columns = self.in_channels if depth == 0 else self.out_channels
            one = [(rows, columns), (rows, out)]
            found += (one if len(self.kernel) == 2 else [*one, (out, state)]) * directions
        return tuple(found)

    @property
    def row_weights(self) -> int:
        """Weights per output channel (one packed row), 0 for an operator without weights."""
        if self.kind in CONV_OPS:
            return self.in_channels // self.groups * math.prod(self.kernel)
        if self.kind == "linear":
            return self.in_channels
        if self.kind == "embedding":
            return self.out_channels
        return self.weights // self.out_channels if self.kind in GATES else 0

    @property
    def weights(self) -> int:
        """All weights of the layer that can be quantized, zeros included."""
        return sum(rows * n for rows, n in self.matrices) if self.is_weighted else 0

    @property
    def biases(self) -> int:
        """Numbers of the bias; two for each row of a recurrent layer's gates, as torch has them."""
        if not self.bias or not self.is_weighted:
            return 0
        if self.kind not in GATES:
            return self.out_channels
        step = 2 if len(self.kernel) == 2 else 3
        return 2 * sum(rows for rows, _ in self.matrices[::step])

    @property
    def zeros(self) -> int:
        """Weights that `sparsity` makes zero: `floor(n s + 0.5)`, of n weights at most n - 1."""
        if not self.sparsity:
            return 0
        n = self.weights
        return max(0, min(math.floor(n * self.sparsity + 0.5), n - 1))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference; 0 for an operator that multiplies nothing.

        Padding is counted as if it were data, which is how the published tables count.
        """
        kind = self.kind
        if kind in ("conv", "depthwise"):
            return math.prod(self.out_shape) * self.row_weights
        if kind == "linear":
            return math.prod(self.out_shape) * self.in_channels
        if kind == "conv_transpose":
            per_input = self.out_channels // self.groups * math.prod(self.kernel)
            return math.prod(self.in_shape) * per_input
        if kind == "matmul":
            return math.prod(self.out_shape) * self.in_shape[-1]
        if kind in GATES:
            return math.prod(self.in_shape[:-1]) * sum(rows * n for rows, n in self.matrices)
        return 0


@dataclass(frozen=True)
class ChannelGroup:
    """Layers whose output channels must be removed together.

    Attributes:
        name: the first of `layers` in graph order.
        layers: weighted layers tied by residual adds, depthwise or grouped convolutions.
        channels: output channels of each of them.
        step: channels come and go in blocks of this size (grouped convolutions).
        prunable: whether a chromosome may remove channels.
        reason: why it may not.

    Raises:
        ValueError: a field is out of its range, named in the message.
    """

    name: str
    layers: tuple[str, ...]
    channels: int
    step: int = 1
    prunable: bool = True
    reason: str = ""

    def __post_init__(self) -> None:
        where = f"channel group {shortened(self.name)}: "
        if not _are_texts(self.layers):
            raise ValueError(
                f"{where}layers={shortened(self.layers)} must be a tuple of layer names"
            )
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers or self.layers[0] != self.name:
            raise ValueError(
                f"{where}it must be named after its first layer, layers={self.layers!r}"
            )
        if not is_size(self.channels):
            raise ValueError(f"{where}channels={shortened(self.channels)} must be an integer >= 1")
        if not is_size(self.step) or self.channels % self.step:
            raise ValueError(
                f"{where}step={shortened(self.step)} must divide channels={self.channels}"
            )
        if not isinstance(self.prunable, bool):
            raise ValueError(f"{where}prunable={shortened(self.prunable)} must be true or false")
        if not isinstance(self.reason, str):
            raise ValueError(f"{where}reason={shortened(self.reason)} must be a text")
        if not self.prunable and not self.reason:
            raise ValueError(f"{where}it is not prunable, so `reason` must say why")
