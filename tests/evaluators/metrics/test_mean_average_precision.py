"""Mean average precision: by hand, against scikit-learn, and its parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluators.metrics.mean_average_precision import (
    Detections,
    MeanAveragePrecision,
    average_precision,
    box_iou,
    non_maximum_suppression,
)


def rows(table: Tensor) -> list[Detections]:
    """(N, K, 6) of kind, score and box; a kind of -1 is none."""
    real = [image[image[:, 0] >= 0] for image in table]
    return [Detections(image[:, 0].long(), image[:, 1], image[:, 2:]) for image in real]


def metric(classes: int = 1) -> MeanAveragePrecision:
    return MeanAveragePrecision(classes, found=rows, present=rows)


def test_overlap_by_hand() -> None:
    one = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    others = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [1, 1, 1, 1]])
    assert box_iou(one, others).tolist() == [[1.0, pytest.approx(1 / 3), 0.0, 0.0]]


def test_the_best_of_overlapping_boxes_of_a_kind_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [0, 0, 4, 4], [9, 9, 12, 12]])
    found = Detections(torch.tensor([0, 0, 1, 0]), torch.tensor([0.5, 0.9, 0.3, 0.1]), boxes)
    kept = non_maximum_suppression(found, 0.5)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.3, 0.1])
    none = Detections(torch.zeros(0).long(), torch.zeros(0), torch.zeros(0, 4))
    assert len(non_maximum_suppression(none, 0.5).scores) == 0


def test_precision_by_hand() -> None:
    # Right, wrong, right of four objects: precisions 1, 1/2, 2/3, made monotonous 1, 2/3, 2/3.
    scores, hits = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert average_precision(scores, hits, 4) == pytest.approx(1 / 4 + 2 / 3 / 4)
    order = np.array([2, 0, 1])
    assert average_precision(scores[order], hits[order], 4) == pytest.approx(5 / 12)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 4) == 0.0


def test_an_object_is_taken_once_and_by_its_kind() -> None:
    box = [0.0, 0, 4, 4]
    there = torch.tensor([[[0.0, 1, *box], [1, 1, 8, 8, 12, 12]]])
    found = torch.tensor([[[0.0, 0.9, *box], [0, 0.8, *box], [0, 0.7, 8, 8, 12, 12]]])
    measured = metric(3)
    measured.update(found, there)
    # The first kind is found at once, the second never; the third isn't there.
    assert measured.compute() == 0.5
    assert measured.hits[0] == [True, False, False]


def test_batches_add_up_and_nothing_is_nan() -> None:
    torch.manual_seed(0)
    corner = 10 * torch.rand(6, 3, 2)
    there = torch.cat([torch.randint(0, 2, (6, 3, 1)), torch.ones(6, 3, 1), corner, corner + 4], 2)
    found = there + torch.cat([torch.zeros(6, 3, 1), torch.randn(6, 3, 5)], 2)
    whole, parts = metric(2), metric(2)
    whole.update(found, there)
    for i in range(6):
        parts.update(found[i : i + 1], there[i : i + 1])
    assert 0.0 < parts.compute() == whole.compute() < 1.0
    whole.reset()
    assert math.isnan(whole.compute())
    whole.update(there, there)
    assert whole.compute() == pytest.approx(1.0)
