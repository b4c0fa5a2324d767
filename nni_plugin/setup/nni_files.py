"""NNI's Python files where NNI has no package: unpacked from the wheel of another machine.

NNI 3.0 has wheels for x86-64 alone and no source package. What binds them to a machine is the
bundled Node server; everything that a trial compresses with is plain Python.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["missing_requirements", "site_packages", "unpack", "wheel_of_nni"]

_VERSION = "3.0"
_PLATFORM = "manylinux1_x86_64"
_INFO = f"nni-{_VERSION}.dist-info/"
# Entry points would make an `nnictl` that has no server to start.
_LEFT_OUT = (f"{_INFO}entry_points.txt", f"{_INFO}RECORD")


def site_packages() -> Path:
    """Where this Python's packages lie."""
    return Path(sysconfig.get_path("purelib"))


def wheel_of_nni(folder: Path) -> Path:
    """Downloads NNI's wheel for Linux on x86-64, 61 MB, with pip.

    Args:
        folder: where it goes.

    Raises:
        RuntimeError: pip fails; the message is pip's.
    """
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
            "--only-binary", ":all:", "--platform", _PLATFORM, "--dest", str(folder),
            f"nni=={_VERSION}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = sorted(folder.glob(f"nni-{_VERSION}-*.whl"))
    if done.returncode or not found:
        raise RuntimeError(f"pip could not download nni {_VERSION}: {done.stderr.strip()}")
    return found[0]


def unpack(wheel: Path, target: Path) -> int:
    """Unpacks NNI's Python files, without its server.

    Args:
        wheel: NNI's, of any machine.
        target: a folder on Python's path.

    Returns:
        The number of files.

    Raises:
        FileExistsError: there is an `nni` already.
        ValueError: the file is no wheel of this version of NNI.
    """
    if (target / "nni").exists():
        raise FileExistsError(f"{target / 'nni'} is there already: remove it, or take another")
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{wheel} is no wheel: {error}") from error
    with archive:
        names = archive.namelist()
        if f"{_INFO}METADATA" not in names:
            raise ValueError(f"{wheel} is no wheel of nni {_VERSION}")
        wanted = [n for n in names if n.startswith(("nni/", _INFO)) and n not in _LEFT_OUT]
        target.mkdir(parents=True, exist_ok=True)
        archive.extractall(target, wanted)
    record = "".join(f"{name},,\n" for name in [*wanted, f"{_INFO}RECORD"])
    (target / _INFO / "RECORD").write_text(record, encoding="utf-8")
    return len(wanted)


def missing_requirements(target: Path) -> list[str]:
    """What the unpacked NNI needs and this Python has not, as pip takes it."""
    text = (target / _INFO / "METADATA").read_text(encoding="utf-8")
    return sorted(spec for name, spec in _requirements(text) if not _is_installed(name))


def _requirements(metadata: str) -> Iterator[tuple[str, str]]:
    for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE):
        spec, _, marker = line.partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", spec)
        if name and "extra" not in marker and "<" not in marker:
            yield name[0], spec.replace(" ", "")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
