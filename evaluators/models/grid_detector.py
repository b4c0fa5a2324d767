"""A small anchor-free detector: one prediction for each cell of a grid."""

from __future__ import annotations

from torch import Tensor, nn

STRIDE = 4
"""Pixels of a cell's side."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class GridDetector(nn.Module):
    """(N, 3, H, W) images to raw predictions (N, classes + 4, H / 4, W / 4).

    Of each cell: a logit per class, then the distances from the cell's centre to the box's left,
    top, right and bottom side, in cells (after Tian et al., "FCOS", ICCV 2019). What makes boxes
    of them runs on the host, so that the network is convolutions alone.

    Args:
        classes: kinds of objects.
        width: channels of the first layer; the later ones have two and four times as many.
    """

    def __init__(self, classes: int = 3, width: int = 12) -> None:
        super().__init__()
        self.stem = _conv(3, width, 2)
        self.down = _conv(width, 2 * width, 2)
        self.body1 = _conv(2 * width, 4 * width)
        self.body2 = _conv(4 * width, 4 * width)
        self.head = nn.Conv2d(4 * width, classes + 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Two strided convolutions, two more with a skip, one prediction per cell."""
        x = self.body1(self.down(self.stem(x)))
        out: Tensor = self.head(x + self.body2(x))
        return out
