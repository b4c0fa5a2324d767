"""The places of a network's tensors in RAM, by the software that runs it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache

from hardware.ir.layer import Layer, Shape
from hardware.memory.c_arena import CSlots
from hardware.memory.planner import Buffer, Graph, graph_of, planned_sizes, skeleton_of


class Arena(ABC):
    """What may need room in RAM, and when: equal for all candidates of a network.

    Attributes:
        tensors: those that need room of their own.
        spans: first and last moment of each place.
    """

    def __init__(self, graph: Graph) -> None:
        self.tensors = skeleton_of(graph).tensors
        self.spans: list[tuple[int, int]] = []

    @abstractmethod
    def sizes(self, shapes: Sequence[Shape], bits: Sequence[int]) -> list[int]:
        """Return the bytes of each place, 0 for one that is not needed.

        Args:
            shapes: of each tensor.
            bits: of each layer's input activations, in the order of the layers.
        """

    def copied(self, shapes: Sequence[Shape], bits: Sequence[int]) -> list[int]:
        """Return the elements of each tensor that is written again in another storage."""
        return []

    def narrow(self, shapes: Sequence[Shape], bits: Sequence[int]) -> int:
        """Return the elements that are clamped to less than a byte when they are written."""
        return 0

    def moment(self, step: int) -> int:
        """When the layer of that index runs."""
        return step

    def blocks(self, sizes: Sequence[int], scratch: Sequence[int]) -> list[Buffer]:
        """Return all buffers: the places, and the scratch of each layer that has some."""
        found = [Buffer(n, *span) for n, span in zip(sizes, self.spans, strict=True)]
        now = [self.moment(step) for step in range(len(scratch))]
        return found + [Buffer(n, t, t) for n, t in zip(scratch, now, strict=True) if n]


class _Planned(Arena):
    """A tensor is stored at the widest bits any of its readers takes it with, 8 as an output."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.spans = [(t.first, t.last) for t in self.tensors]

    def sizes(self, shapes: Sequence[Shape], bits: Sequence[int]) -> list[int]:
        return planned_sizes(self.tensors, shapes, bits)


class _Bytes(_Planned):
    """Every element takes a byte, as in TensorFlow Lite Micro."""

    def sizes(self, shapes: Sequence[Shape], bits: Sequence[int]) -> list[int]:
        return [math.prod(shape) for shape in shapes]


class _Exported(Arena):
    """The arena of the exported C, see `c_arena`."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._slots = CSlots(graph)
        self.spans = [(slot.first, slot.last) for slot in self._slots.slots]

    def sizes(self, shapes: Sequence[Shape], bits: Sequence[int]) -> list[int]:
        return self._slots.sizes([math.prod(shape) for shape in shapes], bits)

    def copied(self, shapes: Sequence[Shape], bits: Sequence[int]) -> list[int]:
        return [math.prod(shapes[i]) for i in self._slots.copied(bits)]

    def narrow(self, shapes: Sequence[Shape], bits: Sequence[int]) -> int:
        return sum(math.prod(shapes[i]) for i in self._slots.narrow(bits))

    def moment(self, step: int) -> int:
        return 2 * step + 1


_KINDS: Mapping[str, type[Arena]] = {"planned": _Planned, "tflm": _Bytes, "c": _Exported}


def arena_of(layers: Sequence[Layer], memory: str) -> Arena:
    """Return the places of a network's tensors; `memory` is that of `Runtime`."""
    return _arena_of(graph_of(layers), memory)


@lru_cache(maxsize=64)
def _arena_of(graph: Graph, memory: str) -> Arena:
    return _KINDS[memory](graph)
