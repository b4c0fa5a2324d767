"""Building blocks shared by the networks, all of them traceable by ``torch.fx``."""

from __future__ import annotations

from torch import Tensor, nn

KERAS_EPSILON = 1e-3
"""Batch-norm epsilon of Keras, which the MLPerf Tiny reference weights were trained with."""


def same_pad(stride: int) -> nn.Module | None:
    """What TensorFlow's "same" padding of a 3x3 convolution adds on an even input.

    With stride 2 TensorFlow pads 0 before and 1 after, which ``nn.Conv2d`` can't say; a
    ``ZeroPad2d`` of its own can, and pruning carries it through unchanged.

    Returns:
        The padding module for stride 2, None for stride 1 (``padding=1`` says it there).
    """
    return nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else None


def padding_of(stride: int) -> int:
    """The ``padding`` of the convolution behind :func:`same_pad`."""
    return 0 if stride == 2 else 1


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Rounds to a multiple of ``divisor``, never down by more than a tenth.

    Source: the reference code of Sandler et al., "MobileNetV2", CVPR 2018.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class SqueezeExcite(nn.Module):
    """Scales every channel by a factor computed from all channels (two 1x1 convolutions).

    Source: Howard et al., "Searching for MobileNetV3", ICCV 2019 (hard sigmoid, reduction 4).

    Args:
        channels: of the input and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = make_divisible(channels / 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        gate: Tensor = self.gate(self.expand(self.relu(self.reduce(self.pool(x)))))
        return x * gate


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise, optional squeeze-excite, project (1x1), residual if shapes agree.

    Source: Sandler et al., CVPR 2018; Howard et al., ICCV 2019.

    Args:
        inputs: channels that come in.
        hidden: channels of the depthwise convolution; no expansion layer if equal to ``inputs``.
        outputs: channels that go out.
        kernel: of the depthwise convolution.
        stride: of the depthwise convolution.
        activation: class of the activation.
        squeeze: whether there is a squeeze-excite behind the depthwise convolution.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU6,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.expands = hidden != inputs
        if self.expands:
            self.expand = nn.Conv2d(inputs, hidden, 1, bias=False)
            self.expand_bn = nn.BatchNorm2d(hidden)
            self.expand_act = activation()
        self.dw = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        self.dw_bn = nn.BatchNorm2d(hidden)
        self.dw_act = activation()
        self.squeeze = SqueezeExcite(hidden) if squeeze else None
        self.project = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.expand_act(self.expand_bn(self.expand(x))) if self.expands else x
        y = self.dw_act(self.dw_bn(self.dw(y)))
        if self.squeeze is not None:
            y = self.squeeze(y)
        y = self.project_bn(self.project(y))
        return x + y if self.residual else y


class Head(nn.Module):
    """Global average and a linear classifier.

    Args:
        channels: of the feature map.
        classes: of the output.
        dropout: before the classifier; 0 leaves it out.
    """

    def __init__(self, channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        x = self.flatten(self.pool(x))
        logits: Tensor = self.fc(x if self.dropout is None else self.dropout(x))
        return logits
