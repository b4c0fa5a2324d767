"""Residual networks for 32x32 images: the MLPerf Tiny ResNet-8, and ResNet-20."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from evaluators.models.layers import KERAS_EPSILON, Head, padding_of, same_pad


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: 1 or 2, of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.pad = same_pad(stride)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding_of(stride))
        self.bn1 = nn.BatchNorm2d(outputs, KERAS_EPSILON)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(outputs, KERAS_EPSILON)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else None
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = x if self.pad is None else self.pad(x)
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(y)))))
        out: Tensor = self.relu2(y + (x if self.shortcut is None else self.shortcut(x)))
        return out


class ResNet(nn.Module):
    """A stem, stages of residual blocks that halve the image, global average, classifier.

    Layer names are ``stem``, ``block1.conv1``, ``block1.conv2``, ``block2.shortcut``, ...,
    ``head.fc``.

    Args:
        widths: channels of each stage.
        blocks: residual blocks in each stage.
        inputs: channels of the image.
        classes: of the output.
    """

    def __init__(
        self, widths: Sequence[int], blocks: int, *, inputs: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, widths[0], 3, 1, 1)
        self.stem_bn = nn.BatchNorm2d(widths[0], KERAS_EPSILON)
        self.stem_relu = nn.ReLU()
        self.depth = len(widths) * blocks
        channels = widths[0]
        for i in range(self.depth):
            width = widths[i // blocks]
            stride = 2 if i and i % blocks == 0 else 1
            self.add_module(f"block{i + 1}", ResidualBlock(channels, width, stride))
            channels = width
        self.head = Head(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W), H and W multiples of 4, to (N, classes)."""
        x = self.stem_relu(self.stem_bn(self.stem(x)))
        for i in range(self.depth):
            x = self.get_submodule(f"block{i + 1}")(x)
        out: Tensor = self.head(x)
        return out


def resnet8(inputs: int = 3, classes: int = 10) -> ResNet:
    """The image-classification network of MLPerf Tiny (Banbury et al., NeurIPS 2021).

    78,186 parameters with batch norm, 12.5 M MACs; 3x32x32 images in 0..255, TensorFlow padding.
    """
    return ResNet((16, 32, 64), 1, inputs=inputs, classes=classes)


def resnet20(inputs: int = 3, classes: int = 10) -> ResNet:
    """ResNet-20 of He et al., CVPR 2016, with 1x1 convolutions as shortcuts.

    The paper pads missing channels with zeros, which ties channels that pruning would take
    apart; everything else is as there, but for TensorFlow's padding in strided convolutions.
    """
    return ResNet((16, 32, 64), 3, inputs=inputs, classes=classes)
