"""Networks with several inputs and outputs, and tasks of random data for them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators import Task
from support.nets import conv_bn, randomize


class TwoHeads(nn.Module):
    """A backbone whose two heads are given as a dict, as in openvinotoolkit/nncf#2846."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 8), conv_bn(8, 16)
        self.box, self.cls = nn.Linear(16, 4), nn.Linear(16, 5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        y = self.b(self.a(image)).mean((2, 3))
        return {"cls": self.cls(y), "box": self.box(y)}


class TwoInTwoOut(nn.Module):
    """Two tensors in, a tuple out: a map and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = conv_bn(3, 8), conv_bn(2, 8)
        self.map, self.fc = nn.Conv2d(8, 3, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        z = self.left(x) + self.right(y)
        return self.map(z), self.fc(z.mean((2, 3)))


@dataclass
class TaggerOutput(OrderedDict[str, Any]):
    """As Hugging Face's ``ModelOutput``: a dict and a dataclass that holds what is not None."""

    loss: Tensor | None = None
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("loss", "logits"):
            if getattr(self, name) is not None:
                self[name] = getattr(self, name)

    def __reduce__(self) -> Any:
        return TaggerOutput, (self.loss, self.logits)


class Tagger(nn.Module):
    """Keywords in, one of them optional; a tag for each step out. Batches are padded."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.up, self.down = nn.Linear(6, 16), nn.Linear(16, 32), nn.Linear(32, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, frames: Tensor, attention_mask: Tensor) -> TaggerOutput:
        x = self.embed(frames)
        x = x + self.down(functional.relu(self.up(x)))
        return TaggerOutput(logits=self.head(x) * attention_mask.unsqueeze(-1))


class TagAccuracy:
    """Share of right tags among those that are no padding: batches can't be joined for it."""

    def __init__(self) -> None:
        self.right = self.count = 0

    def update(self, outputs: TaggerOutput, targets: Tensor) -> None:
        assert outputs.logits is not None
        real = targets >= 0
        self.right += int((outputs.logits.argmax(-1) == targets)[real].sum())
        self.count += int(real.sum())

    def compute(self) -> dict[str, float]:
        return {"accuracy": self.right / self.count, "count": float(self.count)}


class GridDetector(nn.Module):
    """Scores and boxes at every cell of a coarse grid: (N, cells, 2) and (N, cells, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, 8, 3, 2), conv_bn(8, 8))
        self.scores, self.boxes = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {
            "scores": self.scores(y).flatten(2).transpose(1, 2),
            "boxes": self.boxes(y).flatten(2).transpose(1, 2),
        }


def detection_loss(outputs: dict[str, Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
    """Each box's cell is to have its class and its place."""
    terms = []
    for sample, target in enumerate(targets):
        cells = target["cells"]
        scores, boxes = outputs["scores"][sample, cells], outputs["boxes"][sample, cells]
        terms.append(functional.cross_entropy(scores, target["labels"]))
        terms.append(functional.l1_loss(boxes, target["boxes"]))
    return torch.stack(terms).mean()


class MeanOverlap:
    """Mean intersection over union of the boxes at the objects' cells, as torchmetrics has it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total, self.count = torch.zeros(()), 0

    def update(self, outputs: dict[str, Tensor], targets: list[dict[str, Tensor]]) -> None:
        for sample, target in enumerate(targets):
            found, wanted = outputs["boxes"][sample, target["cells"]], target["boxes"]
            low = torch.maximum(found[:, :2], wanted[:, :2])
            high = torch.minimum(found[:, 2:], wanted[:, 2:])
            common = (high - low).clamp(min=0).prod(1)
            sizes = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(1) for b in (found, wanted)]
            self.total = self.total + (common / (sum(sizes) - common).clamp(min=1e-6)).sum()
            self.count += len(wanted)

    def compute(self) -> Tensor:
        return self.total / self.count


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _task(model: nn.Module, batches: Any, example: Any, **rest: Any) -> Task:
    splits = dict.fromkeys(("train", "val", "test"), batches)
    return Task(model=model, example_input=example, **{**splits, **rest})


def two_heads_task(**more: Any) -> Task:
    """Dicts in and out, and a loss of both heads."""
    g = _generator()
    x = torch.randn(24, 3, 8, 8, generator=g)
    target = torch.randint(0, 5, (24,), generator=g)
    batches = [({"image": x[i : i + 8]}, target[i : i + 8]) for i in range(0, 24, 8)]

    def loss(o: dict[str, Tensor], t: Tensor) -> Tensor:
        return functional.cross_entropy(o["cls"], t) + o["box"].square().mean()

    def metric(o: dict[str, Tensor], t: Tensor) -> float:
        assert o["box"].shape == (24, 4)
        return float((o["cls"].argmax(1) == t).float().mean())

    return _task(
        randomize(TwoHeads(), 0),
        batches,
        {"image": x[:2]},
        **{"loss": loss, "metric": metric, "name": "two_heads", **more},
    )


def two_in_two_out_task(**more: Any) -> Task:
    """Tuples of inputs, outputs and targets, with a loss for each output."""
    g = _generator()
    x, y = torch.randn(18, 3, 8, 8, generator=g), torch.randn(18, 2, 8, 8, generator=g)
    maps = torch.randint(0, 3, (18, 8, 8), generator=g)
    labels = torch.randint(0, 5, (18,), generator=g)
    batches = [
        ((x[i : i + 6], y[i : i + 6]), [maps[i : i + 6], labels[i : i + 6]]) for i in (0, 6, 12)
    ]

    def loss(o: tuple[Tensor, Tensor], t: list[Tensor]) -> Tensor:
        return functional.cross_entropy(o[0], t[0]) + functional.cross_entropy(o[1], t[1])

    def metric(o: tuple[Tensor, Tensor], t: list[Tensor]) -> float:
        assert t[0].shape == (18, 8, 8)
        found = o[0].argmax(1)
        overlaps = []
        for kind in range(3):
            one, other = found == kind, t[0] == kind
            overlaps.append((one & other).sum() / (one | other).sum().clamp(min=1))
        return float(torch.stack(overlaps).mean())

    return _task(
        randomize(TwoInTwoOut(), 0),
        batches,
        (x[:2], y[:2]),
        **{"loss": loss, "metric": metric, "metric_name": "iou", "name": "two_in_two_out", **more},
    )


def tagger_task(**more: Any) -> Task:
    """Keywords in, a ``ModelOutput`` out, batches padded to lengths of their own."""
    g = _generator()
    batches = []
    for length in (7, 9, 5):
        mask = (torch.arange(length) < torch.randint(3, length + 1, (6, 1), generator=g)).float()
        tags = torch.randint(0, 5, (6, length), generator=g)
        inputs = {
            "frames": torch.randn(6, length, 6, generator=g),
            "attention_mask": mask,
        }
        batches.append((inputs, tags.masked_fill(mask == 0, -1)))

    def loss(o: TaggerOutput, t: Tensor) -> Tensor:
        assert o.logits is not None
        return functional.cross_entropy(o.logits.flatten(0, 1), t.flatten(), ignore_index=-1)

    example = {key: value[:2] for key, value in batches[0][0].items()}
    return _task(
        randomize(Tagger(), 0),
        batches,
        example,
        **{"loss": loss, "metric": TagAccuracy, "name": "tagger", **more},
    )


def detector_task(**more: Any) -> Task:
    """Targets of a number of boxes that differs between samples, in a list of dicts."""
    g = _generator()
    batches = []
    for _ in range(3):
        targets = []
        for _ in range(4):
            count = int(torch.randint(1, 4, (1,), generator=g))
            corner = torch.rand(count, 2, generator=g)
            targets.append({
                "boxes": torch.cat([corner, corner + 0.5], 1),
                "labels": torch.randint(0, 2, (count,), generator=g),
                "cells": torch.randperm(16, generator=g)[:count],
            })  # fmt: skip
        batches.append((torch.randn(4, 3, 8, 8, generator=g), targets))
    return _task(
        randomize(GridDetector(), 0),
        batches,
        batches[0][0][:2],
        **{
            "loss": detection_loss,
            "metric": MeanOverlap(),
            "metric_name": "overlap",
            "name": "detector",
            **more,
        },
    )


NESTED_TASKS = {
    "two_heads": two_heads_task,
    "two_in_two_out": two_in_two_out_task,
    "tagger": tagger_task,
    "detector": detector_task,
}
