"""A network of integer operators, and what it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.export.fixed_point import Array, Integers
from evaluators.export.steps import Step, Tensor

Outputs = Array | tuple[Array, ...]
"""Real outputs in torch's order: one array, or a tuple of those of several outputs."""

_CHUNK = 128


@dataclass(frozen=True)
class Output:
    """What a network gives.

    Attributes:
        name: of one of several, fit for C; "" of the only one (`graph.output_names`).
        tensor: that holds it.
        rank: dimensions in torch, without batch: 1 for (C,), 3 for (C, H, W).
    """

    name: str
    tensor: Tensor
    rank: int

    @property
    def size(self) -> int:
        """Numbers of one sample."""
        return math.prod(self.tensor.shape)

    def real(self, integers: Integers) -> npt.NDArray[np.float32]:
        """Real numbers in torch's order for integers `[N, ...]` in the order of C."""
        q, (h, w, c) = self.tensor.quantization, self.tensor.shape
        out = (integers.reshape(-1, h, w, c) - q.zero_point) * q.scale
        out = np.moveaxis(out, 3, 1).astype(np.float32)
        sizes = {1: (-1,), 2: out.shape[1::2]}.get(self.rank, out.shape[1:])
        return out.reshape(len(out), *sizes)


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Integer operators in execution order.

    Attributes:
        input: the only one.
        outputs: one or several, each in a tensor that no step reads if there are several.
        steps: operators.
    """

    input: Tensor
    outputs: tuple[Output, ...]
    steps: tuple[Step, ...]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of a sample's integers: (H, W, C) of the only output, or the numbers of all."""
        sizes = [output.size for output in self.outputs]
        return self.outputs[0].tensor.shape if len(sizes) == 1 else (sum(sizes),)

    def quantize_input(self, real: Array) -> Integers:
        """`[N, ...]` in torch's order to the integers `[N, H, W, C]` that `infer()` takes."""
        h, w, c = self.input.shape
        image = np.moveaxis(np.asarray(real).reshape(len(real), c, h, w), 1, 3)
        return self.input.quantization.quantize(image)

    def run_integers(self, inputs: Integers) -> Integers:
        """Output integers `[N, *output_shape]`, bit by bit those of the C code."""
        return np.concatenate(
            [self._run(inputs[i : i + _CHUNK]) for i in range(0, len(inputs), _CHUNK)]
        )

    def __call__(self, real: Array) -> Outputs:
        """As `real_outputs`, for real inputs `[N, ...]` in torch's order."""
        return self.real_outputs(self.run_integers(self.quantize_input(real)))

    def real_outputs(self, integers: Integers) -> Outputs:
        """Real outputs in torch's order: an array, or a tuple of those of several outputs.

        Args:
            integers: `[N, *output_shape]`.
        """
        ends = np.cumsum([output.size for output in self.outputs])[:-1]
        parts = np.split(integers.reshape(len(integers), -1), ends, axis=1)
        found = [output.real(part) for output, part in zip(self.outputs, parts, strict=True)]
        return found[0] if len(found) == 1 else tuple(found)

    def _run(self, inputs: Integers) -> Integers:
        values = {self.input.name: inputs}
        for step in self.steps:
            sources = [values[t.name].reshape(len(inputs), *t.shape) for t in step.inputs]
            values[step.output.name] = step.run(sources)
        found = [values[output.tensor.name].reshape(len(inputs), -1) for output in self.outputs]
        return np.concatenate(found, axis=1).reshape(len(inputs), *self.output_shape)
