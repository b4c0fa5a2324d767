"""Every pinned package has its hashes, and what checks that can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.paths import REPOSITORY


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pins and their hashes, to be changed."""
    for name in (".ci", "requirements"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    for name in ("constraints.txt", "pyproject.toml", "pylock.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def check(folder: Path) -> list[str]:
    command = [sys.executable, str(folder / ".ci" / "hashes.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert (done.returncode == 0) == (not lines)
    return lines


def change(path: Path, pattern: str, text: str) -> None:
    before = path.read_text()
    path.write_text(re.sub(pattern, text, before, count=1, flags=re.MULTILINE))
    assert path.read_text() != before


def test_every_pin_has_hashes(copy: Path) -> None:
    assert check(copy) == []


def test_a_pin_without_hashes_is_named(copy: Path) -> None:
    text = (copy / "constraints.txt").read_text()
    (copy / "constraints.txt").write_text(f"{text}something-new==1.0\n")
    assert check(copy)[0] == "constraints.txt: something-new==1.0 has no hash in requirements/"


def test_another_version_is_named(copy: Path) -> None:
    change(copy / "constraints.txt", r"^numpy==.*$", "numpy==9.9")
    first, *_ = check(copy)
    assert re.search(r"run\.txt: numpy==\d.*, but constraints\.txt has 9\.9", first)


def test_a_lost_or_cut_hash_is_named(copy: Path) -> None:
    change(copy / "requirements" / "dev.txt", r"^ruff==(\S+).*\n(    --hash.*\n)+", r"ruff==\1\n")
    change(copy / "requirements" / "docs.txt", r"--hash=sha256:\w{9}", "--hash=sha256:")
    found = check(copy)
    assert any(line.endswith("dev.txt: ruff has no hash") for line in found)
    assert any("docs.txt: a hash of" in line for line in found)


def test_what_is_no_pin_is_named(copy: Path) -> None:
    with (copy / "requirements" / "run.txt").open("a") as file:
        file.write("requests>=2\n--extra-index-url https://elsewhere.example\n")
    found = check(copy)
    assert any("'requests>=2' is no pinned package" in line for line in found)
    assert any("elsewhere" in line for line in found)


def test_pip_takes_no_file_with_another_hash(tmp_path: Path) -> None:
    """With the words that the Makefile gives it, and a wheel made here."""
    words = re.search(r"^HASHED := \$\(PIP\) (.*) -r$", (REPOSITORY / "Makefile").read_text(), re.M)
    assert words
    wheel = tmp_path / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        info = "evil-1.0.dist-info"
        archive.writestr("evil.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    wanted = tmp_path / "wanted.txt"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--dry-run"]
    pip += ["--no-index", "--find-links", str(tmp_path), *words[1].split(), "-r", str(wanted)]
    for requirement, said in (
        (f"evil==1.0 --hash=sha256:{'0' * 64}", "DO NOT MATCH THE HASHES"),
        ("evil==1.0", "Hashes are required"),
    ):
        wanted.write_text(f"{requirement}\n")
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert said in done.stderr
