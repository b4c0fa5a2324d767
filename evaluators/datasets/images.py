"""Images in memory as uint8, turned into float batches one batch at a time."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from evaluators.datasets.reading import DataError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class OfficialSplits(NamedTuple):
    """What a data set's publisher divides it into; images are (N, H, W, C)."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


class FloatImages:
    """Turns (N, H, W, C) uint8 batches into (N, C, H, W) float ones, optionally augmented.

    The result is channels-last in memory, which makes convolutions faster on a CPU. Random
    choices are drawn from torch's global state, one vector per batch.

    Args:
        scale: factor on the values 0..255.
        flip: mirror half of the images.
        crop: shift every image by up to so many pixels in both directions.
        repeat_edges: what moves in is the outermost row or column again, not zeros.
    """

    def __init__(
        self,
        scale: float = 1.0,
        *,
        flip: bool = False,
        crop: int = 0,
        repeat_edges: bool = False,
    ) -> None:
        self.scale, self.flip, self.crop = scale, flip, crop
        self.repeat_edges = repeat_edges

    def __call__(self, batch: Tensor) -> Tensor:
        """(N, H, W, C) uint8 to (N, C, H, W) float32."""
        if self.crop:
            batch = self._shifted(batch)
        if self.flip:
            mirrored = torch.rand(len(batch)) < 0.5
            batch = torch.where(mirrored[:, None, None, None], batch.flip(2), batch)
        floats = batch.permute(0, 3, 1, 2).float()
        return floats if self.scale == 1.0 else floats.mul_(self.scale)

    def _shifted(self, batch: Tensor) -> Tensor:
        count, height, width, _ = batch.shape
        c = self.crop
        corner = torch.randint(0, 2 * c + 1, (2, count))
        rows = corner[0][:, None] + torch.arange(height)
        columns = corner[1][:, None] + torch.arange(width)
        index = torch.arange(count)[:, None, None]
        if self.repeat_edges:
            rows, columns = (rows - c).clamp_(0, height - 1), (columns - c).clamp_(0, width - 1)
        else:
            batch = functional.pad(batch, (0, 0, c, c, c, c))
        return batch[index, rows[:, :, None], columns[:, None, :]]


def decode(data: bytes, what: str) -> Images:
    """Decodes one image file (JPEG, PNG, WebP, ...) to (H, W, 3).

    Raises:
        DataError: the bytes are no image, or a truncated one.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{what} is truncated or no image ({error}): copy it again") from error


def shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """A permutation that is the same on every machine and numpy version.

    Sorting by a fixed random number per index leaves no choice to the library: ``RandomState``'s
    stream is frozen (NEP 19), other generators' are not.
    """
    return np.argsort(np.random.RandomState(seed).random_sample(count), kind="stable")
