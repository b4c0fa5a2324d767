"""A small U-Net for segmentation (after Ronneberger et al., MICCAI 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class UNet(nn.Module):
    """(N, 3, H, W) images, H and W multiples of 4, to class scores (N, classes, H, W).

    Args:
        classes: of a pixel, the background included.
        width: channels at full resolution; two and four times as many below.
    """

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.enc1 = _conv(3, width)
        self.enc2 = _conv(width, 2 * width)
        self.bottom = _conv(2 * width, 4 * width)
        self.dec2 = _conv(4 * width + 2 * width, 2 * width)
        self.dec1 = _conv(2 * width + width, width)
        self.head = nn.Conv2d(width, classes, 1)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """Down twice and up twice, with the finer maps beside what comes from below."""
        fine = self.enc1(x)
        coarse = self.enc2(self.pool(fine))
        x = self.up(self.bottom(self.pool(coarse)))
        x = self.up(self.dec2(torch.cat([x, coarse], 1)))
        out: Tensor = self.head(self.dec1(torch.cat([x, fine], 1)))
        return out
