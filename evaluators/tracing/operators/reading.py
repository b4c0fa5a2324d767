"""What the rules of the operators read a program with, and where they put their layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from evaluators.tracing.operators.constants import Constants
from evaluators.tracing.operators.layer_names import LayerNames
from evaluators.tracing.program import Operation, Program, Value
from evaluators.tracing.traced_layer import Shaped, TracedLayer, unbatched
from hardware import Layer

WEIGHTED_MODULES: tuple[type[nn.Module], ...] = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.Linear, nn.RNNBase, nn.Embedding,
)  # fmt: skip
"""Modules whose weights the quantizer can reach, subclasses included."""


class Source(NamedTuple):
    """Where a value's numbers lie at run time.

    Attributes:
        name: the layer that writes them, or an input of the network.
        value: what that layer or input gives; another one than asked for where operations
            between them were folded away.
    """

    name: str
    value: Value


class Window(NamedTuple):
    """How an operator moves over its input, as `hardware.Layer` has it.

    Attributes:
        kernel: its size.
        stride: ones if empty.
        padding: zeros if empty.
        groups: of a convolution.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    groups: int = 1

    def full(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
        """All of it, empty ones filled in."""
        dims = len(self.kernel)
        stride, padding = self.stride or (1,) * dims, self.padding or (0,) * dims
        return self.kernel, stride, padding, self.groups


class Weights(NamedTuple):
    """Weights of a layer that a quantizer reaches.

    Attributes:
        name: of the parameter.
        module: the module that it belongs to.
        bias: whether there is a bias.
        bias_from: parameters and buffers that end in it.
    """

    name: str = ""
    module: str = ""
    bias: bool = False
    bias_from: tuple[Value, ...] = ()


NO_WEIGHTS = Weights()


class Reading:
    """A program on its way to layers.

    Attributes:
        program: what is read.
        constants: its values that are worked out before.
        live: operations that lead to an output of the program.
        layers: those made so far.
        sources: where each value lies.
        padding: zeros around a value that was padded for convolutions: before and after each
            spatial dimension.
        indexed: values inside of an indexing expression that goes on.
    """

    def __init__(self, program: Program, model: nn.Module) -> None:
        self.program = program
        self.names = LayerNames(model)
        self.constants = Constants(program)
        self.live = frozenset(program.live())
        self.layers: list[TracedLayer] = []
        self.padding: dict[Value, tuple[int, ...]] = {}
        self.indexed: set[Value] = set()
        self.sources: dict[Value, Source] = {}
        for i, value in enumerate(program.inputs):
            self.sources[value] = Source("input" if i == 0 else f"input_{i}", value)
        self._outputs = set(program.outputs)
        self._tensors = dict(model.named_parameters(remove_duplicate=False))

    def used(self) -> set[Value]:
        """Parameters, buffers and other constants that an output depends on."""
        return {
            leaf
            for operation in self.live
            for value in operation.inputs
            for leaf in self.constants.leaves(value)
            if value in self.program.constants
        }

    def users(self, value: Value) -> list[Operation]:
        """Operations that read a value and lead to an output."""
        return [o for o in self.program.users(value) if o in self.live]

    def is_read(self, value: Value) -> bool:
        """Whether a value leads to an output of the program."""
        return value in self._outputs or bool(self.users(value))

    def is_output(self, value: Value) -> bool:
        """Whether a value is an output of the program."""
        return value in self._outputs

    def data(self, operation: Operation) -> list[Value]:
        """The tensors that an operation reads and that depend on the inputs, each once."""
        return [v for v in dict.fromkeys(operation.inputs) if v in self.sources]

    def fold(self, operation: Operation, value: Value) -> None:
        """Makes an operation's outputs the same numbers as a value that it reads."""
        for output in operation.outputs:
            self.sources[output] = self.sources[value]
            if value in self.padding:
                self.padding[output] = self.padding[value]

    def shaped(self, value: Value) -> Shaped:
        """A value's shape without batch, and the axes of its dimensions."""
        return unbatched(value.shape, self.program.batch)

    def module(self, path: str) -> nn.Module | None:
        """The module of that name."""
        return self.names.modules.get(path)

    def parameter(self, value: Value) -> nn.Parameter | None:
        """The parameter that a value stands for."""
        return self._tensors.get(self.program.parameter(value) or "")

    def function_name(self, operation: Operation, called: str = "") -> str:
        """A name for an operation without weights of its own; ``called`` as in the code."""
        return self.names.of(operation, WEIGHTED_MODULES, called)

    def emit(
        self,
        operation: Operation,
        op: str,
        *,
        target: Value | None = None,
        name: str = "",
        data: Sequence[Value] | None = None,
        extra: Sequence[Source] = (),
        constants: Sequence[Value] | None = None,
        shape_in: Shaped | None = None,
        shape_out: Shaped | None = None,
        window: Window | None = None,
        weights: Weights = NO_WEIGHTS,
        a_bits: int = 8,
        extra_params: int = 0,
        fallback: bool = False,
    ) -> Source:
        """Adds a layer; returns where its output lies.

        Args:
            operation: what it computes.
            op: operator of the hardware model.
            target: its output; the operation's first one if None.
            name: its name; by default that of a function.
            data: tensors that it reads, the first of which ``in_shape`` is of.
            extra: further ones that are no values of the program.
            constants: constants whose numbers flash holds for it; all that it reads if None.
            shape_in: shape and axes of the input, where they are not simply those of the value.
            shape_out: likewise of the output.
            window: its window; ones for each spatial dimension of the input if None.
            weights: its weights, if it has some that a quantizer reaches.
            a_bits: bits of what it reads.
            extra_params: numbers that flash holds beside the constants.
            fallback: whether there is no rule for it.
        """
        read = self.data(operation) if data is None else list(data)
        produced = operation.output if target is None else target
        sources = [self.sources[v] for v in read] + list(extra)
        first = sources[0].value
        in_shape, in_axes = shape_in or self.shaped(first)
        out_shape, out_axes = shape_out or self.shaped(produced)
        plain = Window((1,) * max(1, len(first.shape) - 2))
        kernel, stride, padding, groups = (window or plain).full()
        numbers, leaves = self.constants.take(operation.inputs if constants is None else constants)
        layer = Layer(
            name or self.function_name(operation), op, tuple(s.name for s in sources), in_shape,
            out_shape, kernel, stride, padding, groups, weights.bias, a_bits=a_bits,
            module=weights.module, params=numbers + extra_params,
        )  # fmt: skip
        traced = TracedLayer(
            layer, operation, first, produced, in_axes, out_axes, leaves, weights.name,
            tuple(self.constants.parameters(weights.bias_from)), fallback,
        )  # fmt: skip
        self.layers.append(traced)
        made = Source(layer.name, produced)
        if produced in operation.outputs:
            self.sources[produced] = made
        return made


def numbers(argument: object, dims: int = 1) -> tuple[int, ...]:
    """An argument as that many integers; one integer is repeated.

    Args:
        argument: an integer, or a list of them.
        dims: how many there are.
    """
    if isinstance(argument, (list, tuple)):
        found = tuple(int(v) for v in argument)
        return found * dims if len(found) == 1 else found
    return (int(argument),) * dims if isinstance(argument, (int, float)) else ()


def axes(argument: object, rank: int) -> tuple[int, ...]:
    """The dimensions that an argument names, counted from the front; all of them for None."""
    if argument is None or (isinstance(argument, (list, tuple)) and not argument):
        return tuple(range(rank))
    return tuple(sorted(a % rank for a in numbers(argument))) if rank else ()
