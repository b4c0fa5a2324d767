"""The bearing pack: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluators.datasets.cwru import PACK, load_cwru
from evaluators.datasets.reading import DataError
from support.datasets import write_cwru


def test_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cwru(tmp_path / PACK)
    recordings = load_cwru(tmp_path)
    assert len(recordings) == 37
    assert [(r.label, r.load_hp) for r in recordings[:3]] == [(0, 0), (1, 0), (1, 1)]
    assert recordings[1].values.dtype == np.float32
    assert 1.0 < np.abs(recordings[1].values).max() < 3.0
    monkeypatch.setenv("JOINT_GA_DATA", str(tmp_path))
    assert len(load_cwru(None)) == len(load_cwru(tmp_path / PACK)) == 37


def test_what_is_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOINT_GA_DATA", raising=False)
    with pytest.raises(DataError, match=r"needs --data or \$JOINT_GA_DATA\. Give cwru_de12k\.npz"):
        load_cwru(None)
    with pytest.raises(DataError, match=r"cwru_de12k\.npz does not exist"):
        load_cwru(tmp_path)
    path = tmp_path / PACK
    write_cwru(path)
    whole = path.read_bytes()
    with np.load(path) as pack:
        arrays = dict(pack)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        load_cwru(path)
    for changed, words in (
        ({"label": arrays["label"][:-1]}, "36 labels, 37 loads, 37 scales and 38 offsets"),
        ({"label": arrays["label"] + 1}, r"has the labels .*10\], not 0\.\.9"),
        ({"load_hp": arrays["load_hp"] + 1}, r"has the loads \[1, 2, 3, 4\], not 0\.\.3"),
        ({"x": arrays["x"][:-5]}, "offsets of .* end at"),
    ):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(DataError, match=words):
            load_cwru(path)
