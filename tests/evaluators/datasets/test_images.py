from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluators.batches import ArrayBatches
from evaluators.datasets.images import FloatImages, decode, shuffled
from evaluators.training import DataError


def pictures(count: int = 6, side: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


def test_floats_are_scaled_and_channels_last() -> None:
    x = pictures()
    y = FloatImages(1 / 255)(x)
    assert y.shape == (6, 3, 8, 8)
    assert y.dtype == torch.float32
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, x.permute(0, 3, 1, 2).float() * (1 / 255))


@pytest.mark.parametrize("repeat", [False, True])
def test_every_crop_is_a_shift(repeat: bool) -> None:
    x = pictures(64)
    torch.manual_seed(3)
    y = FloatImages(crop=2, repeat_edges=repeat)(x).permute(0, 2, 3, 1)
    seen = set()
    for before, after in zip(x.numpy(), y.numpy(), strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="edge" if repeat else "constant")
        places = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if np.array_equal(padded[r : r + 8, c : c + 8], after)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15


def test_flip_mirrors_about_half() -> None:
    x = pictures(400)
    torch.manual_seed(0)
    y = FloatImages(flip=True)(x)
    plain = x.permute(0, 3, 1, 2).float()
    mirrored = (y == plain.flip(3)).flatten(1).all(1)
    assert 150 < int(mirrored.sum()) < 250
    assert torch.equal(y[~mirrored], plain[~mirrored])


def test_batches_repeat_with_the_seed_only() -> None:
    x = pictures(32)
    batches = ArrayBatches(
        x, torch.arange(32), batch_size=8, shuffle=True, augment=FloatImages(flip=True, crop=1)
    )
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append([(a.clone(), b.clone()) for a, b in batches])
    assert all(
        torch.equal(a, c) and torch.equal(b, d)
        for (a, b), (c, d) in zip(runs[0], runs[1], strict=True)
    )
    assert not torch.equal(torch.cat([b for _, b in runs[0]]), torch.cat([b for _, b in runs[2]]))


def test_shuffle_is_pinned() -> None:
    # A change here would silently move images between the splits of every experiment.
    assert shuffled(10, 10).tolist() == [1, 9, 8, 6, 5, 4, 2, 3, 7, 0]
    assert sorted(shuffled(1000, 5)) == list(range(1000))


@pytest.mark.parametrize("raw", [b"", b"not an image", b"\xff\xd8\xff\xe0 half a jpeg"])
def test_decode_names_what_is_damaged(raw: bytes) -> None:
    with pytest.raises(DataError, match="picture 7"):
        decode(raw, "picture 7")
