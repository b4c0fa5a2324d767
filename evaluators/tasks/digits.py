"""The default task: scikit-learn's 8x8 digits (UCI, 1,797 images), in seconds on any machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.cache import cached
from evaluators.models.digits_net import DigitsNet
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import accuracy, fit

SPLITS = (1077, 360, 360)
"""Images in train, val and test: 60, 20 and 20 % of a fixed shuffle."""


def build() -> Task:
    """Digits with a small residual, depthwise-separable network, trained on first use."""
    (train, val, test) = _splits()
    batches = ArrayBatches(*train, batch_size=64, shuffle=True, augment=_shift)

    def train_baseline(model: nn.Module) -> None:
        fit(model, batches, functional.cross_entropy, epochs=20, learning_rate=5e-3)

    torch.manual_seed(0)
    model = DigitsNet()
    seconds = trained(model, "digits", train_baseline, version=4)
    return Task(
        name="digits",
        model=model,
        train=batches,
        val=ArrayBatches(*val, batch_size=360),
        test=ArrayBatches(*test, batch_size=360),
        example_input=val[0][:2],
        loss=functional.cross_entropy,
        metric=accuracy,
        recipe=Recipe(learning_rate=1e-3, pruned_learning_rate=5e-3, epochs=5),
        training_seconds=seconds,
    )


def _splits() -> list[tuple[Tensor, Tensor]]:
    """Fixed, disjoint splits; kept as arrays, since importing scikit-learn costs a trial 1 s."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return pixels.reshape(-1, 1, 8, 8).astype(np.float32) / 16.0, labels.astype(np.int64)

    def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
        with np.load(path) as arrays:
            x, y = arrays["x"], arrays["y"]
        if x.shape != (sum(SPLITS), 1, 8, 8) or y.shape != (sum(SPLITS),):
            raise ValueError(f"arrays of shapes {x.shape} and {y.shape}")
        return x, y

    def save(arrays: tuple[np.ndarray, np.ndarray], path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, x=arrays[0], y=arrays[1])

    x, y = cached("digits.npz", make, load=load, save=save)
    order = np.random.default_rng(0).permutation(len(y))
    parts = np.split(order, np.cumsum(SPLITS)[:-1])
    return [(torch.from_numpy(x[p]), torch.from_numpy(y[p])) for p in parts]


def _shift(x: Tensor) -> Tensor:
    """Moves each image by up to one pixel."""
    padded = functional.pad(x, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2, len(x)))
    rows = dy[:, None] + torch.arange(8)
    columns = dx[:, None] + torch.arange(8)
    sample = torch.arange(len(x))[:, None, None]
    return padded[sample, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)
