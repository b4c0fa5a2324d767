"""A 1-D convolutional network for vibration signals."""

from __future__ import annotations

from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm1d(outputs),
        nn.ReLU(),
    )


class VibrationCNN(nn.Module):
    """(N, 1, samples) windows to (N, classes): a wide first kernel, then narrow ones.

    The wide kernel works as a learned filter bank (Zhang et al., "WDCNN", Sensors 17(2):425, 2017,
    doi:10.3390/s17020425).

    Args:
        classes: number of outputs.
        width: channels of the first layer; the later ones have two and four times as many.
    """

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.stem = _conv(1, width, 31, 8)
        self.block1 = _conv(width, 2 * width, 3, 2)
        self.block2 = _conv(2 * width, 4 * width, 3, 2)
        self.block3 = _conv(4 * width, 4 * width, 3, 2)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Four strided convolutions, mean over time, classifier."""
        x = self.block3(self.block2(self.block1(self.stem(x))))
        out: Tensor = self.fc(self.pool(x).flatten(1))
        return out
