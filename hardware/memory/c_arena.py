"""The arena of the exported C: its tensors, and the copies that it makes of some.

Every activation takes a byte, whatever its bits; the network's output four. A tensor is stored
as its readers want it: a layer with weights in its own activation bits, a sum or a mean in any
eight. Where readers disagree, the C writes a copy just before the first reader that wants another
storage, and keeps it to the last one (`evaluators/export/integer.py`). Which copies there are
depends on the bits that a candidate gives its layers, so each possible one has a slot; an empty
slot takes no room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

from hardware.ir.layer import FIXED, WEIGHTED_OPS
from hardware.memory.planner import Graph, Skeleton, Tensor, skeleton_of

OUTPUT_BITS = 32
_BYTE = 8
_ALIKE = frozenset({"pool", "concat", "activation", "pad", "slice"})
"""Operators that pass the storage of their output on to their inputs."""


class Slot(NamedTuple):
    """Room that a network may need, in moments: layer `i` runs at `2 i + 1`, copies for it before.

    Attributes:
        tensor: index of the tensor in the skeleton.
        first: moment at which it is written.
        last: moment of its last reader.
        copy: indices of the first and last reader of a copy, among the tensor's; else None.
        ends_early: of the tensor itself: its last reader reads a copy.
    """

    tensor: int
    first: int
    last: int
    copy: tuple[int, int] | None = None
    ends_early: bool = False


class CSlots:
    """The slots of one network's arena.

    Attributes:
        slots: in the order in which the C writes them.
    """

    def __init__(self, graph: Graph) -> None:
        kept: Skeleton = skeleton_of(graph)
        self.tensors = kept.tensors
        self._ops = [op for _, op, _ in graph]
        self._written = {t.producer: i for i, t in enumerate(self.tensors) if t.producer >= 0}
        self._end = 2 * len(graph) - 1
        found = [slot for i, t in enumerate(self.tensors) for slot in self._slots(i, t)]
        # As the C writes them: of tensors of equal size the planner takes the last first.
        self.slots = tuple(sorted(found, key=lambda slot: slot.first))

    def _slots(self, index: int, tensor: Tensor) -> list[Slot]:
        first = 2 * tensor.producer + 1 if tensor.producer >= 0 else -1
        last = 2 * tensor.last + 1
        readers = tensor.readers
        if len(readers) < 2:
            return [Slot(index, first, last)]
        found = [Slot(index, first, last)]
        if not tensor.is_output:
            found.append(Slot(index, first, last - 1, ends_early=True))
        pairs = combinations_with_replacement(range(len(readers)), 2)
        return found + [Slot(index, 2 * readers[i], 2 * readers[j] + 1, (i, j)) for i, j in pairs]

    def sizes(self, elements: Sequence[int], bits: Sequence[int]) -> list[int]:
        """Return the bytes of each slot.

        Args:
            elements: of each tensor of the skeleton.
            bits: of each layer's input activations, in the order of the layers.
        """
        own: dict[int, int] = {}
        copies: dict[int, Mapping[tuple[int, int], bool]] = {}
        found = []
        for slot in self.slots:
            index = slot.tensor
            readers = self.tensors[index].readers
            size = elements[index]
            if len(readers) > 1:
                if index not in copies:
                    copies[index] = self._copies(index, bits, own)
                made = copies[index]
                if slot.copy is not None:
                    found.append(size if slot.copy in made else 0)
                    continue
                early = any(j == len(readers) - 1 for _, j in made)
                if slot.ends_early != early and not self.tensors[index].is_output:
                    found.append(0)
                    continue
            found.append(size * (4 if self._own(index, bits, own) == OUTPUT_BITS else 1))
        return found

    def copied(self, bits: Sequence[int]) -> list[int]:
        """Return the tensors that are copied, each as often as it is."""
        own: dict[int, int] = {}
        return [
            i
            for i, tensor in enumerate(self.tensors)
            if len(tensor.readers) > 1
            for _ in self._copies(i, bits, own)
        ]

    def narrow(self, bits: Sequence[int]) -> list[int]:
        """Return the tensors that operators write in less than eight bits."""
        own: dict[int, int] = {}
        return [
            i
            for i, tensor in enumerate(self.tensors)
            if tensor.producer >= 0 and self._own(i, bits, own) < _BYTE
        ]

    def _copies(
        self, index: int, bits: Sequence[int], own: dict[int, int]
    ) -> Mapping[tuple[int, int], bool]:
        """First and last reader of each copy of a tensor."""
        stored = self._own(index, bits, own)
        wishes = [self._wish(i, bits, own) for i in self.tensors[index].readers]
        spans: dict[int, tuple[int, int]] = {}
        for i, wish in enumerate(wishes):
            if wish not in (0, stored):
                spans[wish] = (spans.get(wish, (i, i))[0], i)
        return dict.fromkeys(spans.values(), True)

    def _wish(self, reader: int, bits: Sequence[int], own: dict[int, int]) -> int:
        """Bits in which a layer wants its input; 0: any eight."""
        op = self._ops[reader].removeprefix(FIXED)
        if op in WEIGHTED_OPS:
            return bits[reader]
        return self._own(self._written[reader], bits, own) if op in _ALIKE else 0

    def _own(self, index: int, bits: Sequence[int], own: dict[int, int]) -> int:
        """Bits in which a tensor is stored."""
        if index not in own:
            tensor = self.tensors[index]
            wishes = {self._wish(i, bits, own) for i in tensor.readers}
            if tensor.is_output:
                own[index] = OUTPUT_BITS
            elif len(wishes) == 1:
                own[index] = wishes.pop() or _BYTE
            else:
                own[index] = _BYTE
        return own[index]
