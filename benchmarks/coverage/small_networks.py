"""Small networks of the classes that public networks consist of; `--short` runs them alone.

Each is written here after a class of public architectures, so that it needs none of the packages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from benchmarks.coverage import zoo
from benchmarks.coverage.stages import BATCH, Figures, Subject


class Residual(nn.Module):
    """A residual block and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.a, self.norm_a = nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.b, self.norm_b = nn.Conv2d(24, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 10)."""
        x = F.relu(self.norm(self.stem(x)))
        y = F.relu(self.depthwise(F.relu(self.norm_a(self.a(x)))))
        x = F.relu(x + self.norm_b(self.b(y)))
        out: Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return out


class NormAct(nn.BatchNorm2d):
    """A batch norm with its activation, a subclass as timm has it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.Hardswish()

    def forward(self, input: Tensor) -> Tensor:
        """Returns (N, C, H, W)."""
        y = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
        )
        out: Tensor = self.act(y)
        return out


class SameConv(nn.Conv2d):
    """Padding computed from the input's size, as TensorFlow's SAME."""

    def forward(self, input: Tensor) -> Tensor:
        """Returns (N, C, H / stride, W / stride)."""
        height, width = input.shape[-2:]
        rows = max((-(-height // self.stride[0]) - 1) * self.stride[0] + 3 - height, 0)
        columns = max((-(-width // self.stride[1]) - 1) * self.stride[1] + 3 - width, 0)
        if rows > 0 or columns > 0:
            input = F.pad(
                input, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
            )
        return F.conv2d(input, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Mobile(nn.Module):
    """Inverted residual with squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 16, 3, stride=2, bias=False)
        self.stem_norm = NormAct(16)
        self.expand = nn.Conv2d(16, 48, 1, bias=False)
        self.expand_norm = NormAct(48)
        self.depthwise = nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False)
        self.depthwise_norm = NormAct(48)
        self.squeeze, self.excite = nn.Conv2d(48, 12, 1), nn.Conv2d(12, 48, 1)
        self.project = nn.Conv2d(48, 16, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 10)."""
        x = self.stem_norm(self.stem(x))
        y = self.depthwise_norm(self.depthwise(self.expand_norm(self.expand(x))))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        x = x + self.project_norm(self.project(y * gate))
        out: Tensor = self.head(x.mean(3).mean(2))
        return out


class Shuffle(nn.Module):
    """Two halves, one of them convolved, then shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Mish())
        self.branch = nn.Sequential(nn.Conv2d(8, 12, 1), nn.PReLU(12), nn.Conv2d(12, 8, 1))
        self.head = nn.Conv2d(16, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 10)."""
        x = self.stem(x)
        left, right = x.chunk(2, dim=1)
        x = torch.cat((left, self.branch(right)), axis=1)  # type: ignore[call-overload]  # torch takes numpy's name, its types don't
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return F.adaptive_avg_pool2d(self.head(x), 1).flatten(1)


class Vision(nn.Module):
    """Patches, a class token, a table of positions, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.positions = nn.Parameter(torch.randn(1, 17, 32) * 0.02)
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.fc1, self.fc2 = nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 10)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.positions
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, c))
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        out: Tensor = self.head(x[:, 0])
        return out


class Spotter(nn.Module):
    """Convolution over time, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(16, 24, 5, padding=2)
        self.norm = nn.BatchNorm1d(24)
        self.gru = nn.GRU(24, 20, batch_first=True)
        self.head = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 10)."""
        y, _ = self.gru(F.relu(self.norm(self.conv(x))).transpose(1, 2))
        out: Tensor = self.head(y[:, -1])
        return out


class Upscaler(nn.Module):
    """A small U with a transposed convolution, and sub-pixel upsampling at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.GroupNorm(3, 12), nn.SiLU())
        self.deep = nn.Sequential(nn.Conv2d(12, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.last = nn.Conv2d(20, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 3, 2 H, 2 W)."""
        first = self.down(x)
        both = torch.cat([first, self.up(self.deep(first))], 1)
        return F.pixel_shuffle(self.last(both), 2)


class Temporal(nn.Module):
    """Causal convolutions with weight norm, cut in time; read at the last step."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.a = norm(nn.Conv1d(3, 16, 3, padding=2))
        self.b = norm(nn.Conv1d(16, 16, 3, padding=4, dilation=2))
        self.skip, self.head = nn.Conv1d(3, 16, 1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 10)."""
        y = F.relu(self.a(x)[:, :, :-2])
        y = F.relu(self.b(y)[:, :, :-4])
        out: Tensor = self.head((y + self.skip(x))[:, :, -1])
        return out


class Detector(nn.Module):
    """One head on two scales, outputs as a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.1))
        self.b = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.1))
        self.classes, self.boxes = nn.Conv2d(16, 6, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns classes (N, 6, boxes) and boxes (N, 4, boxes)."""
        first = self.a(x)
        scales = [first, self.b(first)]
        return {
            "classes": torch.cat([self.classes(s).flatten(2) for s in scales], 2),
            "boxes": torch.cat([self.boxes(s).flatten(2).exp() for s in scales], 2),
        }


@dataclass(frozen=True)
class Small(zoo.Entry):
    """A network that is written here."""


_ALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Residual": (Residual, (3, 16, 16)),
    "Mobile": (Mobile, (3, 32, 32)),
    "Shuffle": (Shuffle, (3, 16, 16)),
    "Vision": (Vision, (3, 32, 32)),
    "Spotter": (Spotter, (16, 20)),
    "Upscaler": (Upscaler, (3, 16, 16)),
    "Temporal": (Temporal, (3, 24)),
    "Detector": (Detector, (3, 32, 32)),
}


def entries() -> list[zoo.Entry]:
    """All of them."""
    return [Small("small", name, name, 0, shape) for name, (_, shape) in _ALL.items()]


def build(entry: zoo.Entry) -> tuple[Subject, Figures]:
    """As `stages.build`."""
    torch.manual_seed(0)
    model = _ALL[entry.architecture][0]().eval()
    inputs = zoo.inputs_of(entry, 8)
    zoo.settle(model, inputs)
    numbers = sum(p.numel() for p in model.parameters())
    return Subject(entry, model, inputs[:BATCH]), {"parameters": numbers}
