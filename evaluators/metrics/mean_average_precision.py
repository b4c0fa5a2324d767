"""Mean average precision of boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Detections(NamedTuple):
    """What was found in one image, or what is there.

    Attributes:
        kinds: (K,) classes.
        scores: (K,), of any scale; not read of what is there.
        boxes: (K, 4): left, top, right, bottom.
    """

    kinds: Tensor
    scores: Tensor
    boxes: Tensor


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of each box with each other, (K, 4) and (L, 4) to (K, L)."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(-1) for b in (one, other)]
    return common / (areas[0][:, None] + areas[1][None] - common).clamp(min=1e-9)


def non_maximum_suppression(found: Detections, limit: float) -> Detections:
    """Returns the best of overlapping boxes of a kind, by falling score.

    Args:
        found: of one image.
        limit: intersection over union above which the worse box goes.
    """
    order = found.scores.argsort(descending=True)
    kinds, boxes = found.kinds[order], found.boxes[order]
    rivals = (box_iou(boxes, boxes) > limit) & (kinds[:, None] == kinds[None])
    stays = torch.ones(len(order), dtype=torch.bool)
    for best in range(len(order)):
        if stays[best]:
            stays[best + 1 :] &= ~rivals[best, best + 1 :]
    return Detections(*(part[order[stays]] for part in found))


class MeanAveragePrecision:
    """The mean over classes of the area under precision over recall, at one overlap.

    Found boxes take the object of their class that they overlap most, best score first; an object
    is taken once. Precision is made monotonous, as by Everingham et al. (Pascal VOC, IJCV 2010).

    Args:
        classes: number of them.
        found: gives the detections of each image of a batch's outputs.
        present: gives the objects of each image of a batch's targets.
        overlap: intersection over union from which on a box is right.
    """

    def __init__(
        self,
        classes: int,
        *,
        found: Callable[[Tensor], list[Detections]],
        present: Callable[[Tensor], list[Detections]],
        overlap: float = 0.5,
    ) -> None:
        self.classes, self.overlap = classes, overlap
        self.found, self.present = found, present
        self.reset()

    def reset(self) -> None:
        """Forgets what was taken."""
        self.scores: list[list[float]] = [[] for _ in range(self.classes)]
        self.hits: list[list[bool]] = [[] for _ in range(self.classes)]
        self.objects = [0] * self.classes

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes a batch of outputs and targets, in the form that ``found`` and ``present`` read."""
        for given, there in zip(self.found(outputs), self.present(targets), strict=True):
            for kind in range(self.classes):
                ours, theirs = given.kinds == kind, there.kinds == kind
                self.objects[kind] += int(theirs.sum())
                self._match(kind, given.scores[ours], given.boxes[ours], there.boxes[theirs])

    def _match(self, kind: int, scores: Tensor, boxes: Tensor, objects: Tensor) -> None:
        overlaps = box_iou(boxes, objects).numpy()
        free = np.ones(len(objects), bool)
        for index in scores.argsort(descending=True).tolist():
            mine = np.where(free, overlaps[index], -1.0)
            hit = bool(len(mine)) and float(mine.max()) >= self.overlap
            if hit:
                free[mine.argmax()] = False
            self.scores[kind].append(float(scores[index]))
            self.hits[kind].append(hit)

    def compute(self) -> float:
        """The mean over the classes that have objects, in 0..1; NaN if none has."""
        kinds = [kind for kind in range(self.classes) if self.objects[kind]]
        if not kinds:
            return float("nan")
        return float(
            np.mean([
                average_precision(
                    np.array(self.scores[k]), np.array(self.hits[k], bool), self.objects[k]
                )
                for k in kinds
            ])
        )  # fmt: skip


def average_precision(scores: NDArray[np.float64], hits: NDArray[np.bool_], objects: int) -> float:
    """Area under the monotonous precision over recall.

    Args:
        scores: (K,), of what was found.
        hits: (K,) whether each took an object.
        objects: how many there are.
    """
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = right / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0], right])) / objects
    return float((best * steps).sum())
