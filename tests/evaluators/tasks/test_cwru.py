"""The bearing task: its splits are of loads, and its windows of one scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.datasets.cwru import PACK, Recording, load_cwru
from evaluators.datasets.reading import DataError
from evaluators.tasks import cwru
from support.datasets import write_cwru


def test_splits_are_of_loads_and_the_healthy_recording_is_cut_in_time() -> None:
    faults = [
        Recording(np.full(2048, 10.0 * load + label, np.float32), label, load)
        for label in (1, 2)
        for load in range(4)
    ]
    for recording in faults:
        recording.values[0] += 1.0  # else a window has no deviation to be scaled by
    time = np.arange(10_240, dtype=np.float32)
    parts = cwru._splits([Recording(time, 0, 0), *faults])
    labels = [torch.bincount(y, minlength=3).tolist() for _, y in parts]
    # Three windows of each recording of 2,048; the healthy one has 6,144, 2,048 and 2,048 values.
    assert labels == [[11, 6, 6], [3, 3, 3], [3, 3, 3]]


def test_windows_have_one_scale(tmp_path: Path) -> None:
    write_cwru(tmp_path / PACK)
    for x, y in cwru._splits(load_cwru(tmp_path)):
        assert x.shape == (len(y), 1, cwru.WINDOW)
        assert x.mean(2).abs().max() < 1e-3
        assert (x.std(2) - 1).abs().max() < 1e-2
        assert y.unique().tolist() == list(range(10))


def test_recordings_too_short(tmp_path: Path) -> None:
    write_cwru(tmp_path / PACK, seconds=0.05)
    with pytest.raises(DataError, match="val split is empty: no recording of its loads has 1024"):
        cwru.build(str(tmp_path))


def test_augmentation_keeps_the_shape() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 1, cwru.WINDOW)
    for _ in range(10):
        y = cwru._augment(x)
        assert y.shape == x.shape
        assert torch.isfinite(y).all()
        assert not torch.equal(x, y)
