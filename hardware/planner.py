"""The greedy planner of `memory.plan` for many sets of sizes of buffers with the same lifetimes.

All candidates of a network have the same tensors alive at the same times, and only their sizes
differ. So which buffers may not overlap is worked out once, and a buffer looks at those alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from .memory import ALIGNMENT


class Planner:
    """Arena sizes for buffers with fixed lifetimes, equal to `memory.plan` for each set of sizes.

    Args:
        spans: First and last step at which each buffer is alive, both included.
    """

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._near = [
            [j for j, (f, last) in enumerate(spans) if j != i and f <= end and last >= first]
            for i, (first, end) in enumerate(spans)
        ]

    def top(self, sizes: Sequence[int]) -> int:
        """Return the bytes of the arena that holds buffers of these sizes, in bytes."""
        aligned = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
        # Largest first and of equals the last, as `memory.plan`: `reverse` keeps the order of ties.
        filled = [i for i in range(len(sizes) - 1, -1, -1) if aligned[i]]
        order = sorted(filled, key=aligned.__getitem__, reverse=True)
        taken: list[list[tuple[int, int]]] = [[] for _ in sizes]
        top = 0
        for i in order:
            size, offset = aligned[i], 0
            for start, end in sorted(taken[i]):
                if start >= offset + size:
                    break
                if end > offset:
                    offset = end
            place = (offset, offset + size)
            for j in self._near[i]:
                taken[j].append(place)
            if place[1] > top:
                top = place[1]
        return top
