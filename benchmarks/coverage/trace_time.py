"""CPU seconds of the trace of ResNet-50 and ResNet-152, at 64 pixels, in one thread.

python -m benchmarks.coverage.trace_time
"""

from __future__ import annotations

import time

import torch
from torch import nn

from evaluators.tracing.trace import network_of


class Bottleneck(nn.Module):
    """Three convolutions and a sum, as in ResNet-50 and deeper."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet(blocks: tuple[int, ...]) -> nn.Sequential:
    """A ResNet of bottlenecks for 1,000 classes.

    Args:
        blocks: of each of the four stages.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inputs = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True)):
        for block in range(count):
            layers.append(Bottleneck(inputs, width, 2 if block == 0 and stage else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def main() -> None:
    """Prints a row for each network; a small one goes first, for the imports."""
    torch.set_num_threads(1)
    batch = (torch.randn(2, 3, 64, 64),)
    network_of(resnet((1, 1, 1, 1)), batch)
    print("| network | layers | s of CPU |\n|---|---|---|")
    for name, blocks in (("ResNet-50", (3, 4, 6, 3)), ("ResNet-152", (3, 8, 36, 3))):
        model = resnet(blocks)
        start = time.process_time()
        network = network_of(model, batch)
        print(f"| {name} | {len(network.layers)} | {time.process_time() - start:.1f} |")


if __name__ == "__main__":
    main()
