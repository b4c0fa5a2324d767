"""The integer network: tensors, operators, and their reference in numpy.

Activations are stored (height, width, channels). The C kernels in `kernels.h` compute the same
integers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from evaluators.export.fixed_point import Integers, Quantization, Requantization
from evaluators.export.graph import Shape, Window
from hardware.ir.layer import UNIFORM
from hardware.memory.weight_packing import prefers_bitmap

_FLOAT32_EXACT = 2**24


@dataclass(frozen=True)
class Tensor:
    """An activation in memory."""

    name: str
    shape: Shape
    quantization: Quantization

    @property
    def bytes(self) -> int:
        """Bytes it takes."""
        h, w, c = self.shape
        return h * w * c * self.quantization.item_bytes


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """One operator: reads `inputs`, writes `output`, clamps to `bounds`."""

    name: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    bounds: tuple[int, int]

    def run(self, inputs: list[Integers]) -> Integers:
        """Computes the output `[N, H, W, C]` from the inputs."""
        return np.clip(self._run(inputs), *self.bounds)

    @abstractmethod
    def _run(self, inputs: list[Integers]) -> Integers:
        """The output before its clamp."""

    def _centred(self, inputs: list[Integers]) -> list[Integers]:
        return [x - t.quantization.zero_point for x, t in zip(inputs, self.inputs, strict=True)]


@dataclass(frozen=True, eq=False)
class Convolution(Step):
    """Convolution or linear layer with int8 weights `[C, kh, kw, c_in / groups]`.

    `bits` is the width that the weights are stored with: 2, 4 or 8. `scheme` says whether that is
    the integer or the code of a power of two, `zeros` how many of them a bitmap may leave out.
    """

    module: str
    weight: npt.NDArray[np.int8]
    bits: int
    has_bias: bool
    requantization: Requantization
    window: Window
    groups: int
    scheme: str = UNIFORM
    zeros: int = 0

    @property
    def is_depthwise(self) -> bool:
        """One filter per input channel."""
        return self.groups > 1 and self.groups == self.inputs[0].shape[2] == len(self.weight)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Integer weights `(rows, n)` in the order of storage."""
        channels = len(self.weight)
        if self.is_depthwise:
            return self.weight[..., 0].transpose(1, 2, 0).reshape(-1, channels).astype(np.int64)
        return self.weight.reshape(channels, -1).astype(np.int64)

    @property
    def is_coded(self) -> bool:
        """Whether weights are stored behind a bitmap or as codes, which kernels unpack first."""
        rows, n = self.rows.shape
        return self.scheme != UNIFORM or prefers_bitmap(rows, n, self.zeros, self.bits)

    @property
    def reads_in_place(self) -> bool:
        """Whether the weights are stored as plain bytes."""
        return self.bits == 8 and not self.is_coded

    @property
    def row_sums(self) -> Integers:
        """Sum of the weights of each output channel."""
        flat = self.weight.astype(np.int64).reshape(len(self.weight), -1)
        return np.asarray(flat.sum(1), np.int64)

    def _run(self, inputs: list[Integers]) -> Integers:
        (x,) = self._centred(inputs)
        largest = int(
            np.abs(self.weight.astype(np.int64)).reshape(len(self.weight), -1).sum(1).max()
        )
        span = self.inputs[0].quantization
        largest *= max(span.high - span.zero_point, span.zero_point - span.low)
        # Sums of integers below the mantissa's range are exact in floating point.
        exact = torch.float32 if largest < _FLOAT32_EXACT else torch.float64
        image = torch.from_numpy(x).to(exact).permute(0, 3, 1, 2)
        image = functional.pad(image, margins(self.window, self.inputs[0].shape, self.output.shape))
        weight = torch.from_numpy(self.weight).to(exact).permute(0, 3, 1, 2)
        sums = functional.conv2d(
            image, weight, None, self.window.stride, 0, self.window.dilation, self.groups
        )
        centred = sums.permute(0, 2, 3, 1).numpy().astype(np.int64)
        # The kernels multiply inputs as they are stored, padded with the zero point.
        return self.requantization(centred + span.zero_point * self.row_sums)


@dataclass(frozen=True, eq=False)
class Sum(Step):
    """Sum of the inputs, each with its own multiplier; one input: a change of scale.

    `in_bytes` says that bytes are summed to a byte, in 32 bits.
    """

    multipliers: tuple[int, ...]
    shift: int
    in_bytes: bool

    @property
    def constant(self) -> int:
        """What is added to the products of bytes as they are stored: zero points and rounding."""
        zeros = (t.quantization.zero_point for t in self.inputs)
        folded = sum(z * m for z, m in zip(zeros, self.multipliers, strict=True))
        return ((2 * self.output.quantization.zero_point + 1) << (self.shift - 1)) - folded

    def _run(self, inputs: list[Integers]) -> Integers:
        terms = zip(self._centred(inputs), self.multipliers, strict=True)
        total = sum((x * m for x, m in terms), np.int64(1) << np.int64(self.shift - 1))
        return (np.asarray(total, np.int64) >> self.shift) + self.output.quantization.zero_point


@dataclass(frozen=True, eq=False)
class Concatenation(Step):
    """Inputs side by side along the channels; all stored alike."""

    def _run(self, inputs: list[Integers]) -> Integers:
        return np.concatenate(inputs, axis=3)


@dataclass(frozen=True, eq=False)
class MaxPool(Step):
    """Maximum over a window; input and output are stored alike."""

    window: Window

    def _run(self, inputs: list[Integers]) -> Integers:
        left, right, top, bottom = margins(self.window, self.inputs[0].shape, self.output.shape)
        lowest = self.inputs[0].quantization.low
        image = torch.from_numpy(inputs[0]).double().permute(0, 3, 1, 2)
        image = functional.pad(image, (left, right, top, bottom), value=float(lowest))
        most = functional.max_pool2d(
            image, self.window.kernel, self.window.stride, 0, self.window.dilation
        )
        return np.asarray(most.permute(0, 2, 3, 1).numpy()).astype(np.int64)


@dataclass(frozen=True, eq=False)
class AveragePool(Step):
    """Mean over a window without padding.

    Sums of bytes are scaled by `requantization`, of one channel; those of wider numbers, from which
    the zero point is taken, by `multiplier` and `shift` in 64 bits.
    """

    window: Window
    requantization: Requantization | None
    multiplier: int = 0
    shift: int = 1

    def _run(self, inputs: list[Integers]) -> Integers:
        (x,) = inputs if self.requantization else self._centred(inputs)
        (kh, kw), (sh, sw) = self.window.kernel, self.window.stride
        h, w, _ = self.output.shape
        total = np.zeros((len(x), *self.output.shape), np.int64)
        for dy in range(kh):
            for dx in range(kw):
                total += x[:, dy : dy + (h - 1) * sh + 1 : sh, dx : dx + (w - 1) * sw + 1 : sw]
        if self.requantization:
            return self.requantization(total)
        half = np.int64(1) << np.int64(self.shift - 1)
        scaled = (total * self.multiplier + half) >> self.shift
        return np.asarray(scaled + self.output.quantization.zero_point, np.int64)


def margins(window: Window, before: Shape, after: Shape) -> tuple[int, int, int, int]:
    """Padding (left, right, top, bottom); negative where rows or columns stay unread."""
    ends = []
    for axis in (1, 0):
        span = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        used = (after[axis] - 1) * window.stride[axis] + span
        ends += [window.padding[axis], used - before[axis] - window.padding[axis]]
    return ends[0], ends[1], ends[2], ends[3]
