"""DS-CNN for keyword spotting, in the topology of the MLPerf Tiny benchmark."""

from __future__ import annotations

from torch import Tensor, nn


def _block(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


class DSCNN(nn.Module):
    """(N, 1, 49, 10) MFCC features to (N, classes).

    Args:
        classes: number of outputs.
        width: channels of every layer.

    The padding of the first layer is TensorFlow's, which puts the odd row last (Banbury et al.,
    arXiv:2106.07597, and Zhang et al., arXiv:1711.07128).
    """

    def __init__(self, classes: int = 12, width: int = 64) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 1, 4, 5))
        self.stem = nn.Conv2d(1, width, (10, 4), 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.blocks = nn.Sequential(*(_block(width) for _ in range(4)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Stem, four depthwise-separable blocks, mean, classifier."""
        x = self.relu(self.norm(self.stem(self.pad(x))))
        x = self.pool(self.blocks(x)).flatten(1)
        # torch types a module's call as Any.
        return self.fc(self.drop(x))  # type: ignore[no-any-return]  # a module's call has no type
