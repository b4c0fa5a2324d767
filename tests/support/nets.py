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


class Conv1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm_a = nn.Conv1d(3, 12, 5, 2, 2, bias=False), nn.BatchNorm1d(12)
        self.dw, self.norm_b = nn.Conv1d(12, 12, 3, 1, 1, groups=12), nn.BatchNorm1d(12)
        self.b, self.c = nn.Conv1d(12, 16, 1), nn.Conv1d(16, 16, 3, 1, 1)
        self.pool, self.fc = nn.AdaptiveAvgPool1d(1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm_b(self.dw(functional.relu(self.norm_a(self.a(x))))))
        x = self.b(x)
        x = x + functional.gelu(self.c(x))
        return self.fc(self.pool(x).flatten(1))


class UNet(nn.Module):
    """Encoder, decoder with a transposed convolution, one skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = conv_bn(3, 8), conv_bn(8, 16, 3, 2)
        self.up = nn.ConvTranspose2d(16, 10, 2, 2)
        self.mix, self.out = conv_bn(18, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        return self.out(self.mix(torch.cat([a, self.up(self.down2(a))], 1)))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = conv_bn(3, 12), conv_bn(3, 12)
        self.head, self.fc = conv_bn(12, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc(self.head(self.left(x) + self.right(y)).mean((2, 3)))


class Shared(nn.Module):
    """One convolution used twice: it and what feeds it stay whole, the rest goes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = conv_bn(3, 8), nn.Conv2d(8, 8, 3, padding=1)
        self.head, self.fc = conv_bn(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = functional.relu(self.twice(functional.relu(self.twice(x))))
        return self.fc(self.head(x).mean((2, 3)))


class Transformer(nn.Module):
    """Patches, one block of attention and feed-forward, mean over tokens."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.patch = nn.Conv2d(3, width, 2, 2)
        self.place = nn.Parameter(torch.randn(1, 16, width) * 0.1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.fc = nn.Linear(width, 5)

    def split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], 16, self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        y = self.norm1(x)
        y = functional.scaled_dot_product_attention(
            self.split(self.q(y)), self.split(self.k(y)), self.split(self.v(y))
        )
        x = x + self.proj(y.transpose(1, 2).reshape(x.shape[0], 16, -1))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.fc(x.mean(1))


class Dense(nn.Module):
    """Concatenations that grow, batch norm before convolution, as in DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm1, self.conv1 = nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(14), nn.Conv2d(14, 6, 3, padding=1)
        self.norm3, self.fc = nn.BatchNorm2d(20), nn.Linear(20 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.conv1(functional.relu(self.norm1(x)))], 1)
        x = torch.cat([x, self.conv2(functional.relu(self.norm2(x)))], 1)
        x = functional.max_pool2d(functional.relu(self.norm3(x)), 2)
        return self.fc(x.view(x.size(0), -1))


class HardCoded(nn.Module):
    """A view with the channel count written as a number: what feeds it stays whole."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 8), conv_bn(8, 4)
        self.fc = nn.Linear(256, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.b(self.a(x)).view(-1, 256))


class Normed(nn.Module):
    """Group norm mixes channels; a sigmoid doesn't map 0 to 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.b, self.c = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 8, 1)
        self.act, self.fc = nn.PReLU(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.b(functional.relu(self.norm(self.a(x)))))
        return self.fc(functional.silu(self.c(x)).mean((2, 3)))


IMAGE = (3, 8, 8)
ZOO: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, IMAGE),
    "depthwise": (Depthwise, IMAGE),
    "concat": (Concat, IMAGE),
    "squeeze_conv": (SqueezeConv, IMAGE),
    "squeeze_linear": (SqueezeLinear, IMAGE),
    "grouped": (Grouped, IMAGE),
    "autoencoder": (Autoencoder, (12,)),
    "conv1d": (Conv1d, (3, 32)),
    "unet": (UNet, IMAGE),
    "two_inputs": (TwoInputs, IMAGE),
    "shared": (Shared, IMAGE),
    "transformer": (Transformer, IMAGE),
    "dense": (Dense, IMAGE),
    "hard_coded": (HardCoded, IMAGE),
    "normed": (Normed, IMAGE),
}
TWO_INPUTS = (TwoInputs,)


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
