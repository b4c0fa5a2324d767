"""Paths that users give, tried before the work; as root, too, which may write nearly anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from nni_plugin.user_paths import check_writable, check_writable_file, existing_file


def test_a_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    check_writable_file(tmp_path / "a" / "b.json")
    (tmp_path / "c.json").write_text("text")
    check_writable_file(tmp_path / "c.json")
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]
    assert (tmp_path / "c.json").read_text() == "text"
    assert existing_file(tmp_path / "c.json") == tmp_path / "c.json"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/proc/sys/x", "/proc/sys/x: can't be written"),
        ("/dev/null/x", "can't be written, /dev/null is a file: give another folder"),
        ("x" * 300 + "/y", "can't be written (File name too long)"),
    ],
)
def test_a_folder_that_cannot_be_made(path: str, words: str) -> None:
    with pytest.raises(OSError, match="-o ") as told:
        check_writable(path, "-o")
    assert words in str(told.value)
    with pytest.raises(OSError, match="-o "):
        check_writable_file(f"{path}/file.json", "-o")


def test_files_near_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text("{}")
    (tmp_path / "spaces.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'space.json'"):
        existing_file(tmp_path / "spaces.json", suffixes=(".json",))
    with pytest.raises(FileNotFoundError, match=r"beside it: space.json, spaces.txt"):
        existing_file(tmp_path / "q")
    with pytest.raises(IsADirectoryError, match=r"a folder, not a file \(it holds space.json\)"):
        existing_file(tmp_path, suffixes=(".json",))
    with pytest.raises(OSError, match="can't be read"):
        existing_file("a\0b")
