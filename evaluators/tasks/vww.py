"""Visual wake words with MobileNetV1-0.25 (MLPerf Tiny).

Splits, fixed and disjoint:

* From MLPerf Tiny's training folder (109,619 images): one tenth by a checksum of the file name
  scores the search, another tenth is read once, the rest trains.
* From MLPerf Tiny's accuracy set of 1,000 images, which the reference weights have not seen: a
  final half of 500 images is read once. The search half gives 250 images to score the search and
  250 to fine-tune, 20 times per epoch with other shifts and mirrorings. So few can't train a
  network, but with the float model's soft labels they carry it through quantization; a validation
  score on 250 images has a standard error of about 2 points.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn

from evaluators.datasets.images import Images, Labels, shuffled
from evaluators.datasets.reading import DataError
from evaluators.datasets.vww import find_vww, load_vww_folder, load_vww_pack
from evaluators.models.mobilenet import MobileNetV1
from evaluators.models.reference import check_choice, load_reference, uses_reference
from evaluators.recipe import Recipe
from evaluators.task import Batches, Task
from evaluators.tasks.image_task import BaselineTraining, Split, Splits, image_task

REFERENCE = "mobilenetv1_vww.pt"
SPLIT_SEED = 96
PASSES = 20
"""Passes over the 250 fine-tuning images of the accuracy set that make an epoch."""


def build(
    data: str | None = None, *, train_samples: int | None = None, weights: str = "auto"
) -> Task:
    """MobileNetV1-0.25 on 96x96 images, 7.5 M MACs.

    Args:
        data: see :func:`evaluators.datasets.vww.find_vww`.
        train_samples: trials fine-tune on so many training images (None: all).
        weights: ``reference`` (MLPerf Tiny's, ``mobilenetv1_vww.pt`` beside the images), ``train``
            (trained here, from the folder only), or ``auto``: the reference if it is there.

    Raises:
        DataError: the data is missing, damaged or of another format, or there is only the
            accuracy set and no reference weights.
        FileNotFoundError: ``weights="reference"``, and the file isn't there.
        ValueError: another value of ``weights``, or ``train_samples`` out of range.
    """
    check_choice(weights)
    source = find_vww(data)
    reference = source.parent / REFERENCE
    trained_here = not uses_reference(weights, reference)
    if source.is_file() and trained_here:
        raise DataError(
            f"visual wake words: the accuracy set {source} is too small to train on; put the "
            f"reference weights {REFERENCE} beside it, or give MLPerf Tiny's training folder"
        )

    def network() -> nn.Module:
        model = MobileNetV1()
        if not trained_here:
            load_reference(model, reference)
        return model

    splits = (
        pack_splits(*load_vww_pack(source))
        if source.is_file()
        else folder_splits(*load_vww_folder(source))
    )
    task = image_task(
        "vww-mobilenetv1" if trained_here else "vww-mobilenetv1-reference",
        network,
        splits,
        baseline=BaselineTraining(epochs=10, batch_size=64) if trained_here else None,
        crop=8,
        train_samples=train_samples,
        recipe=Recipe(learning_rate=3e-4, distillation=0.9),
        batch_size=50,
    )
    if source.is_file():
        task.train = Repeated(task.train, PASSES)
    return task


class Repeated:
    """Several passes over the same batches as one: an epoch of a very small training split.

    Args:
        batches: with a length; reshuffled in every pass if it shuffles.
        passes: how many.
    """

    def __init__(self, batches: Batches, passes: int) -> None:
        self.batches, self.passes = batches, passes

    def __len__(self) -> int:
        return self.passes * len(self.batches)  # type: ignore[arg-type]  # batches may be any iterable; these are sized

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.passes):
            yield from self.batches


def pack_splits(images: Images, labels: Labels) -> Splits:
    """250 to fine-tune, 250 to score the search, 500 to read once, from 1,000 images."""
    order = shuffled(len(labels), SPLIT_SEED)
    half, quarter = len(order) // 2, len(order) // 4
    parts = order[half + quarter :], order[half : half + quarter], order[:half]
    return Splits(*(Split(images[part], labels[part]) for part in parts))


def folder_splits(images: Images, labels: Labels, names: list[str]) -> Splits:
    """80, 10 and 10 %, by the checksum of each file's name, so that adding files moves none."""
    tenth = np.array([zlib.crc32(name.encode()) % 10 for name in names])
    order = shuffled(len(names), SPLIT_SEED)
    parts = [order[np.isin(tenth[order], chosen)] for chosen in ([*range(2, 10)], [0], [1])]
    if not all(len(part) for part in parts):
        raise DataError(
            f"visual wake words: {len(names)} images leave one of the splits empty "
            f"({', '.join(str(len(part)) for part in parts)} in train, val, test)"
        )
    return Splits(*(Split(images[part], labels[part]) for part in parts))
