"""The keyword-spotting task: its data checks, and its splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators import load_task
from evaluators.tasks import kws
from support.paths import DATA

PACK = DATA / kws.FILE


def test_missing_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOINT_GA_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"pass --data .*kws_arabic\.npz"):
        kws.build()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_task("evaluators.tasks.kws:build", data=str(tmp_path))


def test_truncated_and_foreign_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.normal(size=(30, 49, 10)).astype(np.float16),
        "y12": np.zeros(30, np.int8),
        "split": np.repeat([0, 1, 2], 10).astype(np.uint8),
    }
    path = tmp_path / kws.FILE
    np.savez(path, **arrays)
    assert [len(y) for _, y in kws._load(path)] == [10, 10, 10]

    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated or no keyword-spotting pack"):
        kws.build(str(path))
    np.savez(path, images=arrays["x"])
    with pytest.raises(ValueError, match="truncated or no keyword-spotting pack"):
        kws.build(str(tmp_path))
    np.savez(path, **{**arrays, "split": np.zeros(30, np.uint8)})
    with pytest.raises(ValueError, match="no sample of the val split"):
        kws.build(str(path))


@pytest.mark.skipif(not PACK.exists(), reason=f"needs {PACK}")
def test_splits_of_the_pack() -> None:
    with np.load(PACK) as arrays:
        speakers = [set(arrays["speaker"][arrays["split"] == i].tolist()) for i in range(3)]
    silence = speakers[0] & speakers[1] & speakers[2]
    assert len(silence) <= 1
    assert not (speakers[0] - silence) & (speakers[2] - silence)
    parts = kws._load(PACK)
    assert [len(y) for _, y in parts] == [2160, 720, 720]
    for _, labels in parts:
        assert labels.unique().tolist() == list(range(kws.CLASSES))


def test_augmentation_keeps_the_shape() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 1, 49, 10)
    y = kws._augment(x)
    assert y.shape == x.shape
    assert torch.isfinite(y).all()
    assert not torch.equal(x, y)
