"""Cache files are written whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import logging
import multiprocessing
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluators.cache import cache_dir, cached, locked, write_atomically


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


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder that other users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "cache"
        folder.mkdir(mode=0o755)
        monkeypatch.setenv("JOINT_GA_CACHE", str(folder))
        yield folder
        folder.chmod(0o755)


def _as_other_user(work: Callable[[], None]) -> None:
    """Runs something in a process that is not root and owns nothing, where root runs the tests."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def _warnings() -> list[str]:
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logging.getLogger("evaluators.cache").addHandler(Keep())
    return found


def test_a_read_only_cache_costs_a_warning(shared: Path) -> None:
    shared.chmod(0o555)

    def work() -> None:
        said = _warnings()
        assert cached("new.txt", lambda: "value.", load=_load, save=_save) == "value."
        assert any("cannot be locked" in text for text in said), said
        assert any("could not be written" in text for text in said), said

    _as_other_user(work)
    assert list(shared.iterdir()) == []


def test_the_cache_of_another_user_is_read_and_locked(shared: Path) -> None:
    before = os.umask(0o022)
    try:
        cached("made.txt", lambda: "value.", load=_load, save=_save)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in shared.iterdir()} == {0o644}

    def never() -> str:
        raise AssertionError("it was made already")

    def work() -> None:
        said = _warnings()
        assert cached("made.txt", never, load=_load, save=_save) == "value."
        with locked(shared / "made.txt"), (shared / "made.txt.lock").open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                raise AssertionError("the lock is not held")
        assert said == []

    _as_other_user(work)


def test_the_umask_decides_who_may_read_and_lock(shared: Path) -> None:
    before = os.umask(0o007)
    try:
        cached("ours.txt", lambda: "value.", load=_load, save=_save)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in shared.iterdir()} == {0o660}


def test_a_file_that_may_not_be_read_is_made_again(shared: Path) -> None:
    (shared / "private.txt").write_text("value.", encoding="utf-8")
    (shared / "private.txt").chmod(0o000)

    def work() -> None:
        said = _warnings()
        assert cached("private.txt", lambda: "other.", load=_load, save=_save) == "other."
        assert any("cannot be read" in text for text in said), said

    _as_other_user(work)


def test_no_cache_folder_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "file" / "cache"))
    assert cached("a.txt", lambda: "value.", load=_load, save=_save) == "value."
    assert "the cache folder cannot be made" in caplog.text
