"""Mean intersection over union of a segmentation."""

from __future__ import annotations

import torch
from torch import Tensor


class MeanIoU:
    """Intersection over union of each class, over all pixels of a split; their mean.

    Classes that neither the outputs nor the targets hold don't count.

    Args:
        classes: of a pixel, the background included.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.reset()

    def reset(self) -> None:
        """Forgets what was taken."""
        self.confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes a batch.

        Args:
            outputs: (N, classes, H, W) scores.
            targets: (N, H, W) classes.
        """
        pairs = targets.flatten() * self.classes + outputs.argmax(1).flatten()
        counts = torch.bincount(pairs, minlength=self.classes**2)
        self.confusion += counts.reshape(self.classes, self.classes)

    def compute(self) -> float:
        """The mean in 0..1, NaN if nothing was taken."""
        common = self.confusion.diagonal()
        union = self.confusion.sum(0) + self.confusion.sum(1) - common
        seen = union > 0
        return float((common[seen] / union[seen]).mean())
