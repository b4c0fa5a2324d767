"""Mean intersection over union, by hand and batch by batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from evaluators.metrics.mean_iou import MeanIoU


def test_by_hand() -> None:
    wanted = torch.tensor([[[0, 0], [1, 1]]])
    found = torch.tensor([[[0, 1], [1, 1]]])
    metric = MeanIoU(3)
    metric.update(functional.one_hot(found, 3).permute(0, 3, 1, 2).float(), wanted)
    # Background 1 of 2, the first class 2 of 3; the third is nowhere.
    assert metric.compute() == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_batches_add_up() -> None:
    torch.manual_seed(0)
    scores, wanted = torch.randn(6, 4, 5, 5), torch.randint(0, 4, (6, 5, 5))
    whole, parts = MeanIoU(4), MeanIoU(4)
    whole.update(scores, wanted)
    for i in range(0, 6, 2):
        parts.update(scores[i : i + 2], wanted[i : i + 2])
    assert parts.compute() == whole.compute()
    whole.reset()
    assert math.isnan(whole.compute())
    whole.update(functional.one_hot(wanted, 4).permute(0, 3, 1, 2), wanted)
    assert whole.compute() == 1.0
