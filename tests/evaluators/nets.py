"""Small networks that each hold one structure that pruning can get wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_bn(i: int, o: int, k: int = 3, s: int = 1, g: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    )


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 12)
        self.a, self.b = conv_bn(12, 12), nn.Conv2d(12, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.down, self.skip = nn.Conv2d(12, 16, 3, 2, 1), nn.Conv2d(12, 16, 1, 2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = functional.relu(x + self.norm(self.b(self.a(x))))
        return self.fc(functional.relu(self.down(x) + self.skip(x)).mean((2, 3)))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(3, 8, 3, 2), conv_bn(8, 8, 3, 1, 8), conv_bn(8, 16, 1),
            conv_bn(16, 16, 3, 1, 16), conv_bn(16, 24, 1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Concat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.left, self.right = conv_bn(8, 8, 1), conv_bn(8, 12, 3)
        self.mix, self.fc = conv_bn(28, 10, 1), nn.Linear(10 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.mix(torch.cat([self.left(x), self.right(x), x], 1))
        return self.fc(functional.max_pool2d(x, 2).flatten(1))


class SqueezeConv(nn.Module):
    """Inverted residual with a convolutional squeeze-excite, as in MobileNetV3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.expand, self.dw = conv_bn(8, 24, 1), conv_bn(24, 24, 3, 1, 24)
        self.reduce, self.gate = nn.Conv2d(24, 8, 1), nn.Conv2d(8, 24, 1)
        self.project, self.norm = nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.act, self.fc = nn.Hardswish(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.dw(self.expand(x))
        s = self.gate(functional.relu(self.reduce(functional.adaptive_avg_pool2d(y, 1))))
        y = self.norm(self.project(self.act(y * functional.hardsigmoid(s))))
        return self.fc((x + y).mean((2, 3)))


class SqueezeLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv_bn(3, 8), conv_bn(8, 16)
        self.reduce, self.gate = nn.Linear(16, 8), nn.Linear(8, 16)
        self.head, self.fc = conv_bn(16, 12, 1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        s = torch.sigmoid(self.gate(functional.relu(self.reduce(x.mean((2, 3))))))
        x = x * s[:, :, None, None]
        return self.fc(self.head(x).mean((2, 3)))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mid = conv_bn(3, 16), conv_bn(16, 24, 3, 1, 4)
        self.head, self.fc = conv_bn(24, 12, 1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.head(self.mid(self.stem(x))).mean((2, 3)))


class Autoencoder(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((width, 16), (16, 6), (6, 16)):
            layers += [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU()]
        self.body, self.out = nn.Sequential(*layers), nn.Linear(16, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))


IMAGE = (3, 8, 8)
ZOO: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, IMAGE),
    "depthwise": (Depthwise, IMAGE),
    "concat": (Concat, IMAGE),
    "squeeze_conv": (SqueezeConv, IMAGE),
    "squeeze_linear": (SqueezeLinear, IMAGE),
    "grouped": (Grouped, IMAGE),
    "autoencoder": (Autoencoder, (12,)),
}


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random batch-norm statistics: with the initial ones, dropped shifts go unnoticed."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return model.eval()
