"""Small networks after what users of other projects reported, each a way to prune wrongly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import weight_norm

from support.nets import IMAGE, conv_bn


class ScaledMap(nn.Module):
    """VainF/Torch-Pruning#356: a learnable factor of shape (C, 1, 1) outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = conv_bn(3, 8), conv_bn(8, 16), nn.Linear(16, 5)
        self.gain = nn.Parameter(torch.rand(8, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.b(self.a(x) * self.gain).mean((2, 3)))


class Tokens(nn.Module):
    """VainF/Torch-Pruning#57: feed-forward layers over tokens, averaged over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(12, 16), nn.Linear(16, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.relu(self.b(functional.relu(self.a(x)))).mean(1))


class CatByAxis(nn.Module):
    """SonySemiconductorSolutions/mct-model-optimization#923: cat's dimension by numpy's name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 8), conv_bn(3, 12), conv_bn(20, 8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.c(torch.cat([self.a(x), self.b(x)], axis=1)).mean((2, 3)))


class PoolIndices(nn.Module):
    """Xilinx/Vitis-AI#970, NVIDIA-AI-IOT/torch2trt#382: max pooling that returns its indices."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = conv_bn(3, 8), conv_bn(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = functional.max_pool2d(self.a(x), 2, return_indices=True)
        return self.fc(self.b(y).mean((2, 3)))


class WeightNormed(nn.Module):
    """openvinotoolkit/nncf#1514: weight norm by hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.a = weight_norm(nn.Conv1d(3, 8, 3, padding=1))
        self.b = weight_norm(nn.Conv1d(8, 8, 3, padding=1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.relu(self.b(functional.relu(self.a(x)))).mean(2))


class OutputSize(nn.Module):
    """SonySemiconductorSolutions/mct-model-optimization#1116: told its output size."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 8), conv_bn(8, 16, 3, 2)
        self.up, self.mix = nn.ConvTranspose2d(16, 8, 3, 2, 1), conv_bn(16, 8)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        up = self.up(self.b(a), output_size=a.shape[2:])
        return self.out(self.mix(torch.cat([a, up], 1)))


class PartialConvolution(nn.Module):
    """microsoft/nni#5713, #5416: uneven split of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 16), conv_bn(4, 4), conv_bn(16, 8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, z = torch.split(self.a(x), [12, 4], dim=1)
        return self.fc(self.c(torch.cat([y, self.b(z)], 1)).mean((2, 3)))


class Slopes(nn.Module):
    """IntelLabs/distiller#409: PReLU with a slope per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.b = nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(functional.relu(self.b(self.act(self.a(x)))).mean((2, 3)))


class InstanceNormed(nn.Module):
    """VainF/Torch-Pruning#200: instance norm between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n = nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True)
        self.b, self.fc = nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.n(self.a(x)))
        return self.fc(functional.relu(self.b(y)).mean((2, 3)))


class OneOut(nn.Sequential):
    """microsoft/nni#5736: three convolution blocks, the last with one channel."""

    def __init__(self) -> None:
        last = (nn.Conv2d(80, 1, 3, padding=1), nn.BatchNorm2d(1))
        super().__init__(conv_bn(3, 40), conv_bn(40, 80), *last)


class GatedResidual(nn.Module):
    """microsoft/nni#4540: a squeeze-and-excite gate whose input is also a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.r, self.e = conv_bn(3, 8), nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)
        self.c, self.fc = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        gate = self.e(functional.relu(self.r(functional.adaptive_avg_pool2d(x, 1))))
        y = x * functional.hardsigmoid(gate)
        return self.fc(functional.relu(self.c(y) + x).mean((2, 3)))


class SharedHead(nn.Module):
    """openvinotoolkit/nncf#235, mct#1217: one head over two resolutions, each with its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.h = conv_bn(3, 8), conv_bn(8, 8, 3, 2), nn.Conv2d(8, 8, 3, padding=1)
        self.n1, self.n2, self.o = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        p = functional.relu(self.n1(self.h(a))).mean((2, 3))
        q = functional.relu(self.n2(self.h(self.b(a)))).mean((2, 3))
        return self.o(torch.cat([p, q], 1))


class C2f(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.a, self.b = conv_bn(i, o, 1), conv_bn(2 * o, o, 1)
        self.m1, self.m2 = conv_bn(o // 2, o // 2), conv_bn(o // 2, o // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.a(x).chunk(2, 1))
        y.append(self.m1(y[-1]))
        y.append(y[-1] + self.m2(y[-1]))
        return self.b(torch.cat(y, 1))


class MiniYolo(nn.Module):
    """openvinotoolkit/nncf#851, VainF/Torch-Pruning#147: C2f, pyramid pooling, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.c1 = conv_bn(3, 8, 3, 2), C2f(8, 8)
        self.down, self.c2 = conv_bn(8, 16, 3, 2), C2f(16, 16)
        self.p, self.q, self.pool = conv_bn(16, 8, 1), conv_bn(32, 16, 1), nn.MaxPool2d(3, 1, 1)
        self.up, self.c3 = nn.Upsample(scale_factor=2), C2f(24, 8)
        self.h1, self.h2 = nn.Conv2d(8, 14, 1), nn.Conv2d(16, 14, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.c1(self.stem(x))
        b = self.p(self.c2(self.down(a)))
        y1 = self.pool(b)
        y2 = self.pool(y1)
        b = self.q(torch.cat([b, y1, y2, self.pool(y2)], 1))
        a = self.c3(torch.cat([self.up(b), a], 1))
        out = []
        for head, features in ((self.h1, a), (self.h2, b)):
            y = head(features)
            n, _, ny, nx = y.shape
            out.append(y.view(n, 2, 7, ny, nx).permute(0, 1, 3, 4, 2).reshape(n, -1, 7))
        return torch.cat(out, 1)


class LastStep(nn.Module):
    """locuslab/TCN, VainF/Torch-Pruning#393: a temporal network that reads its last step only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 3, dilation=2)
        self.c, self.fc = nn.Conv1d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.a(functional.pad(x, (2, 0))))
        y = functional.relu(self.b(functional.pad(y, (4, 0))))
        return self.fc(functional.relu(self.c(y))[:, :, -1])


class Lstm(nn.Module):
    """tensorflow/tflite-micro#907, qualcomm/aimet#2684: a recurrent layer behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.lstm = nn.Conv1d(3, 8, 3, padding=1), nn.LSTM(8, 12, batch_first=True)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(functional.relu(self.a(x)).transpose(1, 2))
        return self.fc(y[:, -1])


CASES: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "scaled_map": (ScaledMap, IMAGE),
    "tokens": (Tokens, (6, 12)),
    "cat_by_axis": (CatByAxis, IMAGE),
    "pool_indices": (PoolIndices, IMAGE),
    "weight_normed": (WeightNormed, (3, 32)),
    "output_size": (OutputSize, IMAGE),
    "partial_convolution": (PartialConvolution, IMAGE),
    "slopes": (Slopes, IMAGE),
    "instance_normed": (InstanceNormed, IMAGE),
    "one_out": (OneOut, IMAGE),
    "gated_residual": (GatedResidual, IMAGE),
    "shared_head": (SharedHead, IMAGE),
    "mini_yolo": (MiniYolo, (3, 16, 16)),
    "last_step": (LastStep, (3, 32)),
    "lstm": (Lstm, (3, 32)),
}
