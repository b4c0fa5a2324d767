"""Batches from arrays in memory, without worker processes or per-sample Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


class ArrayBatches:
    """Iterates over ``(inputs, targets)`` batches of two tensors.

    The order, when shuffled, and the augmentation follow torch's global random state, so a
    re-seeded trial repeats exactly.

    Args:
        inputs: (N, ...).
        targets: (N, ...).
        batch_size: of every batch; the last one may be smaller, unless it would hold one sample
            only and the order is shuffled (batch norm can't train on one).
        shuffle: new order in every pass.
        augment: applied to every batch of inputs.

    Raises:
        ValueError: lengths differ, or there is nothing.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        batch_size: int = 64,
        shuffle: bool = False,
        augment: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ValueError(f"{len(inputs)} inputs and {len(targets)} targets: no usable data")
        self.inputs, self.targets = inputs, targets
        self.batch_size, self.shuffle, self.augment = batch_size, shuffle, augment

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.inputs)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for start in range(0, count, self.batch_size):
            chosen = order[start : start + self.batch_size]
            if self.shuffle and len(chosen) == 1 and count > 1:
                continue
            x, y = self.inputs[chosen], self.targets[chosen]
            yield (self.augment(x) if self.augment else x), y
