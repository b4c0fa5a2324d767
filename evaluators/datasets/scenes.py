"""Synthetic scenes: up to three plain shapes on a noisy background, with boxes and pixel labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 32
"""Pixels of an image's side."""
SHAPES = ("square", "disc", "triangle")
"""The kinds of objects; a pixel's label is the kind's index plus one, and 0 on the background."""
MOST = 3
"""Objects in an image, at most; there is at least one."""


class Scenes(NamedTuple):
    """Images with their labels.

    Attributes:
        images: (N, 3, 32, 32) in about -1..1.
        objects: (N, 3, 5): kind, then centre x, centre y, width and height in pixels. The kind of
            an object that isn't there is -1.
        labels: (N, 32, 32) int64, 0 on the background.
    """

    images: Tensor
    objects: Tensor
    labels: Tensor


def make_scenes(count: int, seed: int) -> Scenes:
    """Draws scenes; the same ones for the same seed.

    Shapes are 8 to 16 pixels wide and of any colour. Their boxes don't overlap, so that what is
    to be found can be seen.

    Args:
        count: of images.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3, SIDE, SIDE), np.float32)
    objects = np.full((count, MOST, 5), -1.0, np.float32)
    labels = np.zeros((count, SIDE, SIDE), np.int64)
    for n in range(count):
        background = rng.uniform(-0.5, 0.5, 3)
        images[n] = background[:, None, None]
        for slot, (kind, box) in enumerate(_placed(rng)):
            inside = _mask(kind, box)
            images[n][:, inside] = _colour(rng, background)[:, None]
            labels[n][inside] = kind + 1
            objects[n, slot] = (kind, *box)
        images[n] += rng.normal(0.0, 0.12, images[n].shape)
    return Scenes(*(torch.from_numpy(part) for part in (images, objects, labels)))


Box = tuple[float, float, float, float]


def _placed(rng: np.random.Generator) -> list[tuple[int, Box]]:
    """Kinds and boxes (centre, width, height) of one scene."""
    found: list[tuple[int, Box]] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        width = int(rng.integers(8, 17))
        # A place that is taken is given up after a few draws: then there is one object fewer.
        for _ in range(10):
            x, y = (float(rng.integers(0, SIDE - width + 1)) + width / 2 for _ in range(2))
            box = (x, y, float(width), float(width))
            if not any(_overlap(box, other) for _, other in found):
                found.append((int(rng.integers(len(SHAPES))), box))
                break
    return found


def _overlap(one: Box, other: Box) -> bool:
    reach = (one[2] + other[2]) / 2
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) < reach


def _mask(kind: int, box: Box) -> NDArray[np.bool_]:
    """Pixels of an object: those whose centre lies in it."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    half = box[2] / 2
    across, down = np.abs(x - box[0]), y - box[1]
    if SHAPES[kind] == "square":
        inside = np.maximum(across, np.abs(down)) <= half
    elif SHAPES[kind] == "disc":
        inside = np.hypot(across, down) <= half
    else:
        inside = (np.abs(down) <= half) & (across <= (down + half) / 2)
    return np.asarray(inside)


def _colour(rng: np.random.Generator, background: NDArray[np.float64]) -> NDArray[np.float32]:
    """A colour that stands out from the background."""
    while True:
        colour = rng.uniform(-1.0, 1.0, 3)
        if np.abs(colour - background).max() > 0.5:
            return np.asarray(colour, np.float32)
