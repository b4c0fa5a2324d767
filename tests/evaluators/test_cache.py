"""Cache files are written whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest

from evaluators.cache import cache_dir, cached, write_atomically


def _load(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if not text.endswith("."):
        raise ValueError("cut off")
    return text


def _save(value: str, path: Path) -> None:
    path.write_text(value, encoding="utf-8")


def _compute(marks: str, results: multiprocessing.Queue[str]) -> None:
    def make() -> str:
        with Path(marks).open("a", encoding="utf-8") as file:
            file.write("x")
        return "value."

    results.put(cached("shared.txt", make, load=_load, save=_save))


def test_concurrent_processes_compute_once(cache: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    marks = tmp_path / "marks"
    workers = [context.Process(target=_compute, args=(str(marks), results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=30) for _ in workers] == ["value."] * 4
    for worker in workers:
        worker.join()
    assert marks.read_text(encoding="utf-8") == "x"


def test_full_disk_leaves_the_old_file(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cache_dir() / "old.txt"
    path.write_text("cut", encoding="utf-8")

    def full(value: str, target: Path) -> None:
        target.write_text(value[:2], encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert cached("old.txt", lambda: "new value.", load=_load, save=full) == "new value."
    assert path.read_text(encoding="utf-8") == "cut"
    assert "could not be written" in caplog.text
    assert not [p for p in cache_dir().iterdir() if p.name.startswith(".old.txt")]


def test_torch_errors_of_a_full_disk_are_os_errors(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    with pytest.raises(OSError, match=r"cannot write .*model\.pt"):
        write_atomically(tmp_path / "model.pt", fails)
    assert list(tmp_path.iterdir()) == []
