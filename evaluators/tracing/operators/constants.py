"""Constants of a program: what is stored of them, and which parameters they come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from evaluators.tracing.program import Operation, Program, Value

_MADE = frozenset({
    "arange", "empty", "empty_like", "eye", "full", "full_like", "linspace", "logspace",
    "new_empty", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "scalar_tensor",
    "zeros", "zeros_like",
})  # fmt: skip
"""Operators that read nothing of a tensor but its shape."""

_FILLED = _MADE - {"arange", "eye", "linspace", "logspace"}

_SPREAD = frozenset({
    "alias", "broadcast_to", "clone", "contiguous", "detach", "expand", "expand_as", "flatten",
    "lift_fresh_copy", "permute", "repeat", "reshape", "select", "slice", "squeeze", "t", "to",
    "transpose", "unsqueeze", "view", "view_as", "_to_copy",
})  # fmt: skip
"""Operators that hold no number that their input doesn't hold."""


class Constants:
    """Values that are the same for every input, and so are worked out before.

    Flash holds a constant as it is read, or what it is worked out from, whichever is larger: an
    export may do either.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._numbers: dict[Value, int] = {v: math.prod(v.shape) for v in program.constants}
        self._leaves: dict[Value, tuple[Value, ...]] = {v: (v,) for v in program.constants}
        self._priced: set[Value] = set()
        for operation in program.operations:
            if operation.kind in _MADE or all(v in self for v in operation.inputs):
                self._work_out(operation)

    def __contains__(self, value: object) -> bool:
        return value in self._numbers

    def leaves(self, value: Value) -> tuple[Value, ...]:
        """The parameters, buffers and written constants that a constant is worked out from."""
        return self._leaves.get(value, ())

    def parameters(self, values: Iterable[Value]) -> Iterator[Value]:
        """The leaves of several values, each once; values that are no constant have none."""
        yield from dict.fromkeys(leaf for v in values for leaf in self.leaves(v))

    def take(self, values: Iterable[Value]) -> tuple[int, tuple[Value, ...]]:
        """Numbers that flash holds for these constants, and the leaves that they are counted for.

        What was taken before is held already and counts no more.
        """
        total = 0
        leaves: dict[Value, None] = {}
        for value in dict.fromkeys(values):
            if value not in self:
                continue
            own = self.leaves(value)
            if value in self._priced or (own and all(v in self._priced for v in own)):
                continue
            total += self._stored(value)
            self._priced.update(own, (value,))
            leaves.update(dict.fromkeys(own))
        return total, tuple(leaves)

    def _work_out(self, operation: Operation) -> None:
        read = () if operation.kind in _MADE else operation.inputs
        leaves = tuple(self.parameters(read))
        for value in operation.outputs:
            self._leaves[value] = leaves
            if operation.kind in _SPREAD:
                self._numbers[value] = sum(self._numbers[v] for v in dict.fromkeys(read))
            else:
                self._numbers[value] = 1 if operation.kind in _FILLED else math.prod(value.shape)

    def _stored(self, value: Value) -> int:
        """A constant as it is read, or what it is worked out from."""
        held = sum(math.prod(leaf.shape) for leaf in self.leaves(value))
        return max(held, self._numbers[value])
