"""GRU and LSTM layers in integers: the step, its reference, and what streams.

The matrix products are those of linear layers: bytes in, a factor per row, 16-bit numbers out. The
state is 16 bits wide, and 8 where the matrix reads it. Sigmoid and tangent are interpolated in a
table. `hardware/kernels/recurrent.h` computes the same integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from evaluators.compression.quantization import InputQuantization
from evaluators.export.fixed_point import Integers, Quantization
from evaluators.export.folding import FoldedModel, QuantizedLayer
from evaluators.export.steps import Convolution, Step, Sum, Tensor

if TYPE_CHECKING:
    from evaluators.export.integer_network import IntegerNetwork

STATE = Quantization("int16_t", 2.0**-15, 0, -(2**15), 2**15 - 1)
"""Storage of a state, which lies between -1 and 1."""

GATES = {"gru": 3, "lstm": 4}
"""Kinds of layers that the kernels know, and the gates of a unit."""

MATRICES = ("weight_ih_l0", "weight_hh_l0")
"""Parameters of a layer: the matrix of the input, and of the state."""

READ_STATE = InputQuantization(2.0**-7, 128, 8)
"""How the matrix of the state reads it."""

CELL_FRACTION = 11
"""Fraction bits of an LSTM's cell, which saturates at 16."""

_ONE = 2**15
_TABLE_FRACTION = 4
_FRACTIONS = (_TABLE_FRACTION, 12)
_SCRATCH_UNIT = 16

SIGMOID = np.rint(_ONE / (1.0 + np.exp(-np.arange(129) / 2**_TABLE_FRACTION))).astype(np.int64)
"""Logistic function of 0 to 8 in steps of a sixteenth, in units of 2**-15."""


@dataclass(frozen=True, eq=False)
class Recurrent(Step):
    """One layer over all frames; the output is its last state, or all of them.

    Attributes:
        kind: one of `GATES`.
        products: input and state times their matrices, one frame each.
        fraction: fraction bits of the products.
    """

    kind: str
    products: tuple[Convolution, Convolution]
    fraction: int

    @property
    def units(self) -> int:
        """Numbers of a state."""
        return self.output.shape[2]

    @property
    def features(self) -> int:
        """Numbers of a frame."""
        return self.products[0].inputs[0].shape[2]

    @property
    def frames(self) -> int:
        """Length of the sequence."""
        return int(np.prod(self.inputs[0].shape)) // self.features

    @property
    def state_size(self) -> int:
        """16-bit numbers that are kept from one frame to the next."""
        return self.units * (2 if self.kind == "lstm" else 1)

    @property
    def state_bytes(self) -> int:
        """Their bytes in the arena."""
        return _rounded(2 * self.state_size)

    def scratch_bytes(self, of_products: int) -> int:
        """Bytes beside the tensors: state, both products, the state in bytes, and their kernel's.

        Args:
            of_products: the larger scratch of both products.
        """
        gates = _rounded(2 * 2 * GATES[self.kind] * self.units)
        return self.state_bytes + gates + _rounded(self.units) + of_products

    def _run(self, inputs: list[Integers]) -> Integers:
        x = inputs[0].reshape(len(inputs[0]), -1, self.features)
        count, frames, _ = x.shape
        given = self.products[0].run([x.reshape(count * frames, 1, 1, -1)])
        given = given.reshape(count, frames, -1)
        state = np.zeros((count, self.units), np.int64)
        cell = np.zeros_like(state)
        zero = self.products[1].inputs[0].quantization.zero_point
        states = []
        for frame in range(frames):
            read = np.clip((state + 128) >> 8, -128, 127) + zero
            kept = self.products[1].run([read[:, None, None, :]])[:, 0, 0]
            if self.kind == "gru":
                state = self._gru(given[:, frame], kept, state)
            else:
                state, cell = self._lstm(given[:, frame] + kept, cell)
            states.append(state)
        found = np.stack(states if self.output.shape[1] == frames else states[-1:], 1)
        return found[:, None]

    def _gru(self, given: Integers, kept: Integers, state: Integers) -> Integers:
        reset, update, new = np.split(given, 3, axis=1)
        kept_reset, kept_update, kept_new = np.split(kept, 3, axis=1)
        r = sigmoid(reset + kept_reset, self.fraction)
        z = sigmoid(update + kept_update, self.fraction)
        n = tangent(new + _product(r, kept_new), self.fraction)
        return (z * state + (_ONE - z) * n + _ONE // 2) >> 15

    def _lstm(self, gates: Integers, cell: Integers) -> tuple[Integers, Integers]:
        into, forget, new, out = np.split(gates, 4, axis=1)
        added = (sigmoid(into, self.fraction) * tangent(new, self.fraction)) >> (
            15 - CELL_FRACTION
        )  # fmt: skip
        kept = sigmoid(forget, self.fraction) * cell
        cell = np.clip((kept + added + _ONE // 2) >> 15, -_ONE, _ONE - 1)
        return _product(sigmoid(out, self.fraction), tangent(cell, CELL_FRACTION)), cell


def sigmoid(value: Integers, fraction: int) -> Integers:
    """Logistic function in units of 2**-15, interpolated between the table's entries."""
    size = np.abs(value)
    rest = fraction - _TABLE_FRACTION
    index = np.minimum(size >> rest, len(SIGMOID) - 1)
    low, high = SIGMOID[index], SIGMOID[np.minimum(index + 1, len(SIGMOID) - 1)]
    found = low + (((high - low) * (size & ((1 << rest) - 1))) >> rest)
    return np.asarray(np.where(value < 0, _ONE - found, found), np.int64)


def tangent(value: Integers, fraction: int) -> Integers:
    """Hyperbolic tangent in units of 2**-15."""
    return np.asarray(2 * sigmoid(2 * value, fraction) - _ONE)


def _product(a: Integers, b: Integers) -> Integers:
    return (a * b + _ONE // 2) >> 15


def _rounded(size: int) -> int:
    return -(-size // _SCRATCH_UNIT) * _SCRATCH_UNIT


def matrices(folded: FoldedModel) -> dict[str, QuantizedLayer]:
    """The matrices of recurrent layers as linear layers: with their bias, and how they read."""
    found = {}
    for module in sorted(modules(folded)):
        own = folded.plain.get_submodule(module)
        for part, given in zip(MATRICES, (folded.inputs.get(module), READ_STATE), strict=True):
            name = f"{module}.{part}"
            bias = getattr(own, part.replace("weight", "bias"), None)
            values = bias.detach().numpy() if isinstance(bias, torch.Tensor) else None
            found[name] = replace(folded.matrices[name], bias=values, input=given)
    return found


def modules(folded: FoldedModel) -> set[str]:
    """Names of the recurrent layers whose matrices are quantized."""
    owners = {name.rpartition(".")[0] for name in folded.matrices}
    return {
        name
        for name in owners
        if isinstance(folded.plain.get_submodule(name), nn.RNNBase)
        and all(f"{name}.{part}" in folded.matrices for part in MATRICES)
    }


def fraction_bits(layers: Mapping[str, QuantizedLayer], module: str) -> int:
    """Fraction bits with which neither product can leave 16 bits, if there are any."""
    largest = 1.0
    for part in MATRICES:
        layer = layers[f"{module}.{part}"]
        assert layer.input is not None
        reach = max(layer.input.high - layer.input.zero_point, layer.input.zero_point)
        rows = np.abs(layer.weight.astype(np.int64)).sum(axis=1)
        bias = 0.0 if layer.bias is None else np.abs(layer.bias)
        largest = max(largest, float((rows * layer.scale * layer.input.scale * reach + bias).max()))
    low, high = _FRACTIONS
    return min(max(14 - int(np.floor(np.log2(largest))), low), high)


def gates_storage(fraction: int) -> Quantization:
    """How the products are stored."""
    return Quantization("int16_t", 2.0**-fraction, 0, -(2**15), 2**15 - 1)


def products(network: IntegerNetwork) -> Iterator[Convolution]:
    """Every convolution and linear layer of a network, those in recurrent layers included."""
    for step in network.steps:
        yield from products_of(step)


def products_of(step: Step) -> tuple[Convolution, ...]:
    """The products of weights of a step, of one frame."""
    if isinstance(step, Recurrent):
        return step.products
    return (step,) if isinstance(step, Convolution) else ()


def one_frame(network: IntegerNetwork) -> IntegerNetwork | None:
    """The network for one frame at a time; None if something other than states spans frames."""
    if not any(isinstance(step, Recurrent) for step in network.steps):
        return None
    frames: dict[str, Tensor] = {network.input.name: network.input}
    steps = []
    for step in network.steps:
        if not any(t.name in frames for t in step.inputs):
            steps.append(step)
        elif isinstance(step, Recurrent):
            sequence = step.output.shape[1] == step.frames
            frames[step.inputs[0].name] = replace(step.inputs[0], shape=(1, 1, step.features))
            output = replace(step.output, shape=(1, 1, step.units))
            if sequence:
                frames[output.name] = output
            steps.append(replace(step, inputs=(frames[step.inputs[0].name],), output=output))
        elif isinstance(step, Sum) and len(step.inputs) == 1:
            features = step.inputs[0].shape[2]
            source = replace(step.inputs[0], shape=(1, 1, features))
            frames[step.output.name] = replace(step.output, shape=(1, 1, features))
            steps.append(replace(step, inputs=(source,), output=frames[step.output.name]))
        else:
            return None
    if any(output.tensor.name in frames for output in network.outputs):
        return None
    return replace(network, input=frames[network.input.name], steps=tuple(steps))
