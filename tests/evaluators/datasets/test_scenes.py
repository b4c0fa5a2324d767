"""Drawn scenes: their labels say what is in the image."""

from __future__ import annotations

import torch

from evaluators.datasets.scenes import MOST, SHAPES, SIDE, make_scenes


def test_boxes_are_those_of_the_labelled_pixels() -> None:
    images, objects, labels = make_scenes(60, 0)
    assert images.shape == (60, 3, SIDE, SIDE)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    counts = (objects[:, :, 0] >= 0).sum(1)
    assert set(counts.tolist()) == set(range(1, MOST + 1))
    assert set(labels.unique().tolist()) == set(range(len(SHAPES) + 1))
    for scene, pixels in zip(objects, labels, strict=True):
        inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        for kind, x, y, width, height in scene[scene[:, 0] >= 0].tolist():
            rows = slice(round(y - height / 2), round(y + height / 2))
            columns = slice(round(x - width / 2), round(x + width / 2))
            part = pixels[rows, columns]
            assert part.shape == (height, width)  # within the image
            assert set(part.unique().tolist()) <= {0, int(kind) + 1}
            for edge in (part[0], part[-1], part[:, 0], part[:, -1]):
                # A triangle's tip may fall between two pixels' centres.
                assert kind == SHAPES.index("triangle") or bool(edge.any())
            assert 0.3 < float((part > 0).float().mean()) <= 1.0
            assert not inside[rows, columns].any()
            inside[rows, columns] = True
        assert not pixels[~inside].any()


def test_a_seed_gives_the_same_scenes() -> None:
    one, same, other = make_scenes(5, 1), make_scenes(5, 1), make_scenes(5, 2)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.images, other.images)
