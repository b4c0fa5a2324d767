"""MobileNets of a size that microcontrollers hold: V1, V2 and V3-small."""

from __future__ import annotations

from torch import Tensor, nn

from evaluators.models.layers import (
    KERAS_EPSILON,
    Head,
    InvertedResidual,
    make_divisible,
    padding_of,
    same_pad,
)

V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)) + ((512, 1),) * 5 + (
    (1024, 2),
    (1024, 1),
)  # fmt: skip
"""Channels at width 1 and stride of each separable block (Howard et al., 2017)."""

V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
"""Expansion, channels at width 1, repeats, stride (Sandler et al., 2018, table 2)."""

V3_BLOCKS = (
    (3, 16, 16, True, nn.ReLU, 2), (3, 72, 24, False, nn.ReLU, 2), (3, 88, 24, False, nn.ReLU, 1),
    (5, 96, 40, True, nn.Hardswish, 2), (5, 240, 40, True, nn.Hardswish, 1),
    (5, 240, 40, True, nn.Hardswish, 1), (5, 120, 48, True, nn.Hardswish, 1),
    (5, 144, 48, True, nn.Hardswish, 1), (5, 288, 96, True, nn.Hardswish, 2),
    (5, 576, 96, True, nn.Hardswish, 1), (5, 576, 96, True, nn.Hardswish, 1),
)  # fmt: skip
"""Kernel, hidden and output channels at width 1, squeeze-excite, activation, stride (Howard et al.,
2019, table 2)."""


class Separable(nn.Module):
    """A depthwise 3x3 and a 1x1 convolution, each with batch norm and ReLU.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.pad = same_pad(stride)
        self.dw = nn.Conv2d(inputs, inputs, 3, stride, padding_of(stride), groups=inputs)
        self.dw_bn = nn.BatchNorm2d(inputs, KERAS_EPSILON)
        self.dw_relu = nn.ReLU()
        self.pw = nn.Conv2d(inputs, outputs, 1)
        self.pw_bn = nn.BatchNorm2d(outputs, KERAS_EPSILON)
        self.pw_relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        x = x if self.pad is None else self.pad(x)
        out: Tensor = self.pw_relu(self.pw_bn(self.pw(self.dw_relu(self.dw_bn(self.dw(x))))))
        return out


class MobileNetV1(nn.Module):
    """MobileNetV1; at width 0.25 the visual-wake-words network of MLPerf Tiny (96x96 images).

    Layer names are ``stem``, ``block1.dw``, ``block1.pw``, ..., ``head.fc``.

    Args:
        width: factor on all channel counts.
        inputs: channels of the image.
        classes: of the output.
    """

    def __init__(self, width: float = 0.25, *, inputs: int = 3, classes: int = 2) -> None:
        super().__init__()
        channels = int(32 * width)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.stem = nn.Conv2d(inputs, channels, 3, 2, 0)
        self.stem_bn = nn.BatchNorm2d(channels, KERAS_EPSILON)
        self.stem_relu = nn.ReLU()
        for i, (outputs, stride) in enumerate(V1_BLOCKS, 1):
            self.add_module(f"block{i}", Separable(channels, int(outputs * width), stride))
            channels = int(outputs * width)
        self.head = Head(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W), H and W multiples of 32, to (N, classes)."""
        x = self.stem_relu(self.stem_bn(self.stem(self.pad(x))))
        for i in range(len(V1_BLOCKS)):
            x = self.get_submodule(f"block{i + 1}")(x)
        out: Tensor = self.head(x)
        return out


class MobileNetV2(nn.Module):
    """MobileNetV2 for small images.

    Layer names are ``stem``, ``block1.dw``, ``block2.expand``, ``block2.project``, ..., ``last``,
    ``head.fc``.

    Args:
        width: factor on all channel counts, which are rounded to multiples of 8.
        inputs: channels of the image.
        classes: of the output.
        stem_stride: 1 for 32x32 images, 2 for larger ones.
        last: channels before the classifier.
    """

    def __init__(
        self,
        width: float = 0.35,
        *,
        inputs: int = 3,
        classes: int = 10,
        stem_stride: int = 1,
        last: int = 256,
    ) -> None:
        super().__init__()
        channels = make_divisible(32 * width)
        self.stem = nn.Conv2d(inputs, channels, 3, stem_stride, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(channels)
        self.stem_act = nn.ReLU6()
        self.depth = 0
        for expansion, base, repeats, first_stride in V2_STAGES:
            for repeat in range(repeats):
                outputs, stride = make_divisible(base * width), 1 if repeat else first_stride
                block = InvertedResidual(channels, channels * expansion, outputs, stride=stride)
                self.depth += 1
                self.add_module(f"block{self.depth}", block)
                channels = outputs
        self.last = nn.Conv2d(channels, last, 1, bias=False)
        self.last_bn = nn.BatchNorm2d(last)
        self.last_act = nn.ReLU6()
        self.head = Head(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, classes)."""
        x = self.stem_act(self.stem_bn(self.stem(x)))
        for i in range(self.depth):
            x = self.get_submodule(f"block{i + 1}")(x)
        out: Tensor = self.head(self.last_act(self.last_bn(self.last(x))))
        return out


class MobileNetV3Small(nn.Module):
    """MobileNetV3-small for small images: squeeze-excite and hard swish.

    Layer names are ``stem``, ``block1.dw``, ``block1.squeeze.reduce``, ``block2.expand``, ...,
    ``last``, ``head.fc``. The paper's 1024-channel layer behind the global average is left out: it
    would hold most of the weights of so small a network.

    Args:
        width: factor on all channel counts, which are rounded to multiples of 8.
        inputs: channels of the image.
        classes: of the output.
        stem_stride: 1 for 32x32 images, 2 for larger ones.
    """

    def __init__(
        self, width: float = 0.5, *, inputs: int = 3, classes: int = 10, stem_stride: int = 1
    ) -> None:
        super().__init__()
        channels = make_divisible(16 * width)
        self.stem = nn.Conv2d(inputs, channels, 3, stem_stride, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(channels)
        self.stem_act = nn.Hardswish()
        for i, (kernel, hidden, base, squeeze, activation, stride) in enumerate(V3_BLOCKS, 1):
            outputs = make_divisible(base * width)
            block = InvertedResidual(
                channels,
                make_divisible(hidden * width),
                outputs,
                kernel=kernel,
                stride=stride,
                activation=activation,
                squeeze=squeeze,
            )
            self.add_module(f"block{i}", block)
            channels = outputs
        last = make_divisible(576 * width)
        self.last = nn.Conv2d(channels, last, 1, bias=False)
        self.last_bn = nn.BatchNorm2d(last)
        self.last_act = nn.Hardswish()
        self.head = Head(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, classes)."""
        x = self.stem_act(self.stem_bn(self.stem(x)))
        for i in range(len(V3_BLOCKS)):
            x = self.get_submodule(f"block{i + 1}")(x)
        out: Tensor = self.head(self.last_act(self.last_bn(self.last(x))))
        return out
