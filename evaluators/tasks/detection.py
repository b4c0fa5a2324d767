"""Detection of shapes in synthetic scenes: a small anchor-free network, scored by its boxes.

Everything is drawn on the spot, so that the task needs no data. The network gives raw numbers for
each cell of a grid. Loss and metric make boxes of them, as a device's firmware would.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.datasets.scenes import SHAPES, SIDE, Scenes, make_scenes
from evaluators.metrics.mean_average_precision import (
    Detections,
    MeanAveragePrecision,
    non_maximum_suppression,
)
from evaluators.models.grid_detector import STRIDE, GridDetector
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import fit

KINDS = len(SHAPES)
TRAIN, VAL, TEST = 2000, 300, 300
"""Images of the splits, which are drawn with seeds of their own."""
EPOCHS = 20
LEAST_SCORE = 0.05
"""Cells with a lower score give no box."""
MOST_OVERLAP = 0.5
"""Of two boxes of a kind that overlap more, the one with the lower score goes."""


def build() -> Task:
    """An anchor-free detector of three shapes, trained on first use."""
    train, val, test = (make_scenes(n, seed) for seed, n in enumerate((TRAIN, VAL, TEST)))
    batches = _batches(train, 64, shuffle=True)

    def train_baseline(model: nn.Module) -> None:
        fit(model, batches, detection_loss, epochs=EPOCHS, learning_rate=5e-3)

    torch.manual_seed(0)
    model = GridDetector(KINDS)
    seconds = trained(model, "scenes-detection", train_baseline)
    return Task(
        name="scenes-detection",
        model=model,
        train=batches,
        val=_batches(val, VAL),
        test=_batches(test, TEST),
        example_input=val.images[:2],
        loss=detection_loss,
        metric=MeanAveragePrecision(KINDS, found=decode, present=boxes_of),
        metric_name="map50",
        recipe=Recipe(learning_rate=1e-3, pruned_learning_rate=5e-3, pruner="taylor", epochs=3),
        training_seconds=seconds,
    )


def _batches(scenes: Scenes, size: int, *, shuffle: bool = False) -> ArrayBatches:
    return ArrayBatches(scenes.images, scenes.objects, batch_size=size, shuffle=shuffle)


def detection_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Focal loss of the classes (Lin et al., ICCV 2017), and the boxes' distances and overlap.

    A cell is to find an object if its centre lies in the object's box, within a cell's side of the
    box's centre (as by Tian et al., "FCOS", ICCV 2019).

    Args:
        outputs: (N, kinds + 4, rows, columns).
        targets: (N, objects, 5), see :class:`evaluators.datasets.scenes.Scenes`.
    """
    logits, sides = outputs[:, :KINDS], outputs[:, KINDS:].permute(0, 2, 3, 1)
    wanted, distances, positive = _cells(targets, outputs.shape[-2], outputs.shape[-1])
    count = positive.sum().clamp(min=1)
    chance = torch.sigmoid(logits)
    wrong = torch.where(wanted > 0, 1 - chance, chance)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    classes = (wrong.square() * entropy).sum() / count
    ours, theirs = sides[positive], distances[positive]
    length = functional.smooth_l1_loss(ours, theirs, reduction="sum", beta=0.2) / count
    return classes + length + (1 - _overlap(ours.clamp(min=0), theirs)).sum() / count


def _overlap(ours: Tensor, theirs: Tensor) -> Tensor:
    """Intersection over union of boxes around a common point, from distances (K, 4)."""
    shared = torch.minimum(ours, theirs)
    common = (shared[:, :2] + shared[:, 2:]).prod(1)
    areas = [(d[:, :2] + d[:, 2:]).prod(1) for d in (ours, theirs)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-6)


def _centres(rows: int, columns: int) -> Tensor:
    """Centres of the cells, (rows, columns, 2) x and y in pixels."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return (torch.stack([x, y], -1) + 0.5) * STRIDE


def _cells(targets: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Classes (N, kinds, R, C), distances in cells (N, R, C, 4), cells with an object (N, R, C)."""
    middle, size = targets[:, :, None, None, 1:3], targets[:, :, None, None, 3:5]
    offset = _centres(rows, columns) - middle  # (N, objects, R, C, 2)
    distances = torch.cat([size / 2 + offset, size / 2 - offset], -1) / STRIDE
    near = (distances > 0).all(-1) & (offset.abs() <= STRIDE).all(-1)
    near &= targets[:, :, None, None, 0] >= 0
    first = near.int().argmax(1, keepdim=True)  # boxes don't overlap, so there is one at most
    chosen = distances.gather(1, first[..., None].expand(-1, -1, -1, -1, 4)).squeeze(1)
    kind = targets[:, :, 0].long().clamp(min=0)
    classes = functional.one_hot(kind, KINDS)[:, :, :, None, None] * near[:, :, None]
    return classes.sum(1).clamp(max=1).float(), chosen, near.any(1)


def decode(outputs: Tensor) -> list[Detections]:
    """The boxes of each image, in pixels, without doubles.

    Args:
        outputs: (N, kinds + 4, rows, columns), as the network gives them.
    """
    scores, kinds = torch.sigmoid(outputs[:, :KINDS]).flatten(2).max(1)
    centres = _centres(outputs.shape[-2], outputs.shape[-1]).flatten(0, 1)
    sides = outputs[:, KINDS:].flatten(2).transpose(1, 2).clamp(min=0) * STRIDE
    low, high = centres - sides[..., :2], centres + sides[..., 2:]
    boxes = torch.cat([low, high], -1).clamp(0, SIDE)
    found = []
    for n in range(len(outputs)):
        good = scores[n] >= LEAST_SCORE
        these = Detections(kinds[n][good], scores[n][good], boxes[n][good])
        found.append(non_maximum_suppression(these, MOST_OVERLAP))
    return found


def boxes_of(targets: Tensor) -> list[Detections]:
    """The objects of each image.

    Args:
        targets: (N, objects, 5).
    """
    there = []
    for rows in targets:
        real = rows[rows[:, 0] >= 0]
        boxes = torch.cat([real[:, 1:3] - real[:, 3:] / 2, real[:, 1:3] + real[:, 3:] / 2], 1)
        there.append(Detections(real[:, 0].long(), torch.ones(len(real)), boxes))
    return there
