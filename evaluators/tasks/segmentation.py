"""Segmentation of shapes in synthetic scenes with a small U-Net, scored by its mean IoU."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.datasets.scenes import SHAPES, Scenes, make_scenes
from evaluators.metrics.mean_iou import MeanIoU
from evaluators.models.unet import UNet
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import fit

CLASSES = len(SHAPES) + 1
"""Of a pixel: the background and the shapes."""
TRAIN, VAL, TEST = 1000, 200, 200
"""Images of the splits, which are drawn with seeds of their own."""
EPOCHS = 15


def build() -> Task:
    """A U-Net that tells three shapes from the background, trained on first use."""
    train, val, test = (make_scenes(n, seed) for seed, n in enumerate((TRAIN, VAL, TEST)))
    batches = _batches(train, 32, shuffle=True)

    def train_baseline(model: nn.Module) -> None:
        fit(model, batches, functional.cross_entropy, epochs=EPOCHS, learning_rate=1e-2)

    torch.manual_seed(0)
    model = UNet(CLASSES)
    seconds = trained(model, "scenes-segmentation", train_baseline)
    return Task(
        name="scenes-segmentation",
        model=model,
        train=batches,
        val=_batches(val, 100),
        test=_batches(test, 100),
        example_input=val.images[:2],
        loss=functional.cross_entropy,
        metric=MeanIoU(CLASSES),
        metric_name="miou",
        recipe=Recipe(learning_rate=3e-3, pruned_learning_rate=1e-2, pruner="taylor", epochs=3),
        training_seconds=seconds,
    )


def _batches(scenes: Scenes, size: int, *, shuffle: bool = False) -> ArrayBatches:
    return ArrayBatches(scenes.images, scenes.labels, batch_size=size, shuffle=shuffle)
