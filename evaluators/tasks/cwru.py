"""Predictive maintenance: which fault a bearing has, by 85 ms of vibration, with a 1-D network.

Splits are by the motor's load, since windows of one recording are all alike: a share of them held
back says nothing of another day. The network learns at 0 and 1 hp, is scored by the search at 2 hp
and read once at 3 hp. The healthy bearing was recorded without load only, so that its recording is
cut in time: 60 % train, 20 % val, 20 % test.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.datasets.cwru import CLASSES, HEALTHY, Recording, load_cwru
from evaluators.datasets.reading import DataError
from evaluators.models.vibration_cnn import VibrationCNN
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import accuracy, fit

WINDOW = 1024
"""Values in a window: 85 ms, two and a half turns of the shaft."""
STEP = 512
SPLITS = ("train", "val", "test")
SPLIT_OF_LOAD = (0, 0, 1, 2)
"""Which split the faults at 0, 1, 2 and 3 hp belong to."""
SHARES = (0.6, 0.2, 0.2)
"""Of the healthy bearing's recording."""
EPOCHS = 15
MOST_STRETCH = 0.06
"""Share by which a training window is played faster or slower at most."""
NOISE = 0.5
"""Standard deviation of the noise on training windows, whose own deviation is 1."""


def build(data: str | None = None) -> Task:
    """The ten classes (healthy, nine faults) with a 1-D network that is trained on first use.

    Args:
        data: see :func:`evaluators.datasets.cwru.load_cwru`.

    Raises:
        DataError: the data is missing, damaged or of another format.
    """
    train, val, test = _splits(load_cwru(data))
    batches = ArrayBatches(*train, batch_size=64, shuffle=True, augment=_augment)

    def train_baseline(model: nn.Module) -> None:
        fit(model, batches, functional.cross_entropy, epochs=EPOCHS, learning_rate=5e-3)

    torch.manual_seed(0)
    model = VibrationCNN(CLASSES)
    key = f"cwru-{zlib.crc32(train[0].numpy().tobytes()):08x}"
    seconds = trained(model, key, train_baseline, version=2)
    return Task(
        name="cwru",
        model=model,
        train=batches,
        val=ArrayBatches(*val, batch_size=256),
        test=ArrayBatches(*test, batch_size=256),
        example_input=val[0][:2],
        loss=functional.cross_entropy,
        metric=accuracy,
        recipe=Recipe(learning_rate=1e-3, pruned_learning_rate=5e-3, epochs=3),
        training_seconds=seconds,
    )


def _splits(recordings: list[Recording]) -> list[tuple[Tensor, Tensor]]:
    """(N, 1, WINDOW) windows of mean 0 and deviation 1, and their classes."""
    windows: list[list[NDArray[np.float32]]] = [[] for _ in SPLITS]
    labels: list[list[int]] = [[] for _ in SPLITS]
    for values, label, load_hp in recordings:
        if label == HEALTHY:
            edges = np.cumsum([0.0, *SHARES]) * len(values)
            parts = [(i, values[int(edges[i]) : int(edges[i + 1])]) for i in range(len(SPLITS))]
        else:
            parts = [(SPLIT_OF_LOAD[load_hp], values)]
        for split, part in parts:
            if len(part) >= WINDOW:
                cut = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::STEP]
                windows[split].append(cut)
                labels[split] += [label] * len(cut)
    return [_joined(*part) for part in zip(SPLITS, windows, labels, strict=True)]


def _joined(
    split: str, windows: list[NDArray[np.float32]], labels: list[int]
) -> tuple[Tensor, Tensor]:
    if not windows:
        raise DataError(
            f"CWRU: the {split} split is empty: no recording of its loads has {WINDOW} values"
        )
    x = np.concatenate(windows)
    x = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-8)
    return torch.from_numpy(x).unsqueeze(1), torch.tensor(labels)


def _augment(x: Tensor) -> Tensor:
    """Another speed of the shaft, noise, and either sign: a sensor can be mounted either way round.

    The motor turns up to 4 % slower under load, and the faults' frequencies follow it.
    """
    stretch = float(torch.empty(()).uniform_(1 - MOST_STRETCH, 1 + MOST_STRETCH))
    y = functional.interpolate(x, scale_factor=stretch, mode="linear", align_corners=False)
    y = functional.pad(y, (0, max(0, WINDOW - y.shape[2])), mode="circular")[..., :WINDOW]
    sign = torch.randint(0, 2, (len(x), 1, 1)) * 2.0 - 1.0
    return sign * y + NOISE * torch.randn_like(y)
