from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

DATA = Path(os.environ.get("JOINT_GA_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("JOINT_GA_CACHE", str(path))
    return path


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of data packs; what needs it is skipped elsewhere."""
    if not (DATA / "cifar10_webp.npz").is_file():
        pytest.skip(f"no data packs in {DATA} (set JOINT_GA_DATA to their folder)")
    return DATA.resolve()
