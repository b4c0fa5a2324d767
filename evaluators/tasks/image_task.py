"""What the image-classification tasks share: from arrays and a network to a ``Task``."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.datasets.images import FloatImages, Images, Labels, OfficialSplits, shuffled
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import accuracy, fit

EVALUATION_BATCH = 250


class Split(NamedTuple):
    """Images (N, H, W, C) in 0..255 and their classes (N,)."""

    images: Images
    labels: Labels

    def first(self, count: int | None) -> Split:
        """The first ``count`` samples, or all of them for None.

        Raises:
            ValueError: ``count`` is below 1 or above the size of the split.
        """
        if count is None:
            return self
        if not 1 <= count <= len(self.labels):
            raise ValueError(f"train_samples={count} must be in 1..{len(self.labels)}")
        return Split(self.images[:count], self.labels[:count])

    def key(self) -> str:
        """Eight hex digits that change with the samples (every 50th image is looked at)."""
        return f"{zlib.crc32(self.images[::50].tobytes(), zlib.crc32(self.labels.tobytes())):08x}"

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Both as tensors, sharing memory where torch allows it."""
        images = self.images if self.images.flags.writeable else self.images.copy()
        return torch.from_numpy(images), torch.from_numpy(self.labels)


class Splits(NamedTuple):
    """Disjoint: what is trained on, what the search scores on, what is read once."""

    train: Split
    val: Split
    test: Split


def hold_out(arrays: OfficialSplits, count: int, seed: int) -> Splits:
    """Takes the validation images from the official training images, by a fixed shuffle."""
    order = shuffled(len(arrays.train_labels), seed)
    val, train = order[:count], order[count:]
    return Splits(
        Split(arrays.train_images[train], arrays.train_labels[train]),
        Split(arrays.train_images[val], arrays.train_labels[val]),
        Split(arrays.test_images, arrays.test_labels),
    )


class BaselineTraining(NamedTuple):
    """How a float baseline is trained.

    Attributes:
        epochs: passes over the whole training split.
        learning_rate: peak of AdamW's, with a cosine schedule.
        batch_size: of training, here and in a trial's fine-tuning.
        weight_decay: of AdamW.
        version: raised when the training changes, so that cached weights are trained again.
    """

    epochs: int
    learning_rate: float = 3e-3
    batch_size: int = 128
    weight_decay: float = 1e-2
    version: int = 1


def image_task(
    name: str,
    build: Callable[[], nn.Module],
    splits: Splits,
    *,
    baseline: BaselineTraining | None,
    scale: float = 1.0 / 255.0,
    flip: bool = True,
    crop: int = 4,
    repeat_edges: bool = False,
    train_samples: int | None = None,
    recipe: Recipe | None = None,
    batch_size: int = 128,
) -> Task:
    """A classification task on images in memory.

    Args:
        name: of the task and of its baseline's cache file.
        build: makes the network.
        splits: disjoint splits.
        baseline: how it is trained on the whole training split; None if ``build`` returns trained
            weights.
        scale: factor on the pixels 0..255.
        flip: mirror half of the training images.
        crop: shift training images by up to so many pixels.
        repeat_edges: what moves in then is the edge again, not zeros.
        train_samples: trials fine-tune on the first so many training samples; None: on all.
        recipe: of a trial's fine-tuning.
        batch_size: of it, if no baseline is trained here.
    """
    augment = FloatImages(scale, flip=flip, crop=crop, repeat_edges=repeat_edges)
    batch_size = baseline.batch_size if baseline else batch_size

    def training(split: Split) -> ArrayBatches:
        return ArrayBatches(*split.tensors(), batch_size=batch_size, shuffle=True, augment=augment)

    def evaluation(split: Split) -> ArrayBatches:
        return ArrayBatches(
            *split.tensors(), batch_size=EVALUATION_BATCH, augment=FloatImages(scale)
        )

    tuning = training(splits.train.first(train_samples))
    torch.manual_seed(0)
    model = build()
    seconds = 0.0
    if baseline is not None:
        seconds = _train(model, name, baseline, splits.train, training)
    return Task(
        name=name,
        model=model,
        train=tuning,
        val=evaluation(splits.val),
        test=evaluation(splits.test),
        example_input=FloatImages(scale)(torch.from_numpy(splits.val.images[:2])),
        loss=functional.cross_entropy,
        metric=accuracy,
        recipe=recipe,
        training_seconds=seconds,
    )


def _train(
    model: nn.Module,
    name: str,
    baseline: BaselineTraining,
    split: Split,
    batches: Callable[[Split], ArrayBatches],
) -> float:
    """Gives a network its trained weights; returns what training took."""
    return trained(
        model,
        # Another source may hold the samples in another order, hence other splits.
        f"{name}-{split.key()}",
        lambda m: fit(
            m,
            batches(split),
            functional.cross_entropy,
            epochs=baseline.epochs,
            learning_rate=baseline.learning_rate,
            weight_decay=baseline.weight_decay,
        ),
        version=baseline.version,
    )
