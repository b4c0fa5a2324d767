"""A network for 8x8 images with a residual add and depthwise-separable blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class DigitsNet(nn.Module):
    """(N, 1, 8, 8) to (N, classes).

    Args:
        classes: number of outputs.
        width: channels of the first stage; the later ones have twice as many.
    """

    def __init__(self, classes: int = 10, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.block1 = _separable(width, 2 * width, 2)
        self.block2 = _separable(2 * width, 2 * width)
        self.block3 = _separable(2 * width, 4 * width)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Stem, one residual block, three separable blocks, mean, classifier."""
        x = self.stem(x)
        y = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(x + self.norm2(self.conv2(y)))
        x = self.block3(self.block2(self.block1(x)))
        # torch types a module's call as Any, here and in the other networks.
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]  # a module's call has no type
