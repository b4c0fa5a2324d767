"""The detector's loss and boxes: what a network that is right would give, and what is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from evaluators.datasets.scenes import SIDE, make_scenes
from evaluators.metrics.mean_average_precision import MeanAveragePrecision
from evaluators.models.grid_detector import STRIDE, GridDetector
from evaluators.tasks.detection import KINDS, boxes_of, decode, detection_loss

CELLS = SIDE // STRIDE


def right(objects: Tensor, *, sure: float = 12.0) -> Tensor:
    """What a perfect network gives: drawn cell by cell from the objects, in plain Python."""
    outputs = torch.zeros(len(objects), KINDS + 4, CELLS, CELLS)
    outputs[:, :KINDS] = -sure
    for n, scene in enumerate(objects.tolist()):
        for kind, x, y, width, height in scene:
            for row in range(CELLS):
                for column in range(CELLS):
                    across, down = (column + 0.5) * STRIDE - x, (row + 0.5) * STRIDE - y
                    away = max(abs(across), abs(down))
                    if kind < 0 or away > STRIDE or away >= width / 2:
                        continue
                    outputs[n, int(kind), row, column] = sure
                    sides = (
                        width / 2 + across, height / 2 + down, width / 2 - across, height / 2 - down
                    )  # fmt: skip
                    outputs[n, KINDS:, row, column] = torch.tensor(sides) / STRIDE
    return outputs


def precision(outputs: Tensor, objects: Tensor) -> float:
    metric = MeanAveragePrecision(KINDS, found=decode, present=boxes_of)
    metric.update(outputs, objects)
    return metric.compute()


def test_a_right_network_has_no_loss_and_full_precision() -> None:
    objects = make_scenes(20, 0).objects
    outputs = right(objects)
    assert float(detection_loss(outputs, objects)) < 1e-3
    assert precision(outputs, objects) == pytest.approx(1.0)
    for found, there in zip(decode(outputs), boxes_of(objects), strict=True):
        assert len(found.boxes) == len(there.boxes)
        for box in there.boxes:
            assert float((found.boxes - box).abs().amax(1).min()) < 1e-3


def test_wrong_kinds_and_wrong_boxes_cost() -> None:
    objects = make_scenes(20, 0).objects
    outputs = right(objects)
    other = outputs.clone()
    other[:, :KINDS] = outputs[:, :KINDS].roll(1, 1)
    assert precision(other, objects) < 0.1
    wide = outputs.clone()
    wide[:, KINDS:] *= 2
    assert precision(wide, objects) < 0.1
    best = detection_loss(outputs, objects)
    assert all(detection_loss(x, objects) > best + 0.5 for x in (other, wide))


@pytest.mark.parametrize("count", [0, 2])
def test_the_loss_of_any_output_has_a_gradient(count: int) -> None:
    torch.manual_seed(0)
    objects = make_scenes(4, 0).objects
    objects[:, count:] = -1.0  # with none, nothing is positive
    model = GridDetector()
    outputs = model(torch.randn(4, 3, SIDE, SIDE))
    assert outputs.shape == (4, KINDS + 4, CELLS, CELLS)
    torch.autograd.backward(detection_loss(outputs, objects))
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert float(model.head.weight.grad.abs().max()) > 0
