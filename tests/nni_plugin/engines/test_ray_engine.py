"""What is sent to the machines of a cluster, and what is said without Ray."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from nni_plugin.engines import ray_engine, run
from nni_plugin.engines.engine import EngineError


def test_a_code_folder_comes_out_as_it_went_in(tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "package").mkdir(parents=True)
    (code / "package" / "task.py").write_text("x = 1\n")
    (code / ".git").mkdir()
    (code / ".git" / "HEAD").write_text("ref")
    ray_engine.unpack(ray_engine.packed(code), tmp_path / "there")
    assert (tmp_path / "there" / "package" / "task.py").read_text() == "x = 1\n"
    assert not (tmp_path / "there" / ".git").exists()


def test_a_code_folder_full_of_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_MOST_BYTES", 10)
    (tmp_path / "data.bin").write_bytes(b"0" * 20)
    with pytest.raises(ValueError, match=r"trialCodeDirectory .* too much"):
        ray_engine.packed(tmp_path)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'nni-joint-ga\[ray\]'"):
        run.check_engine("ray")
