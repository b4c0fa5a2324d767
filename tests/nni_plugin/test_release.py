"""The wheel and the source package: built, installed into a new environment, and used there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from support.paths import REPOSITORY

PACKAGES = ("ga", "hardware", "evaluators", "nni_plugin")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NAME = f"nni_joint_ga-{PROJECT['version']}"


def files_of_git() -> set[str]:
    """What the packages hold, by git, which knows no build's leftovers."""
    done = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, made of a copy of what git has, by the build backend that is installed."""
    folder = tmp_path_factory.mktemp("build")
    archive = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout
    source = folder / "source"
    for name in filter(None, archive.decode().split("\0")):
        wanted = name.startswith(tuple(f"{package}/" for package in PACKAGES)) or "/" not in name
        if wanted and (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    code = (
        "from setuptools import build_meta as b; "
        f"b.build_sdist({str(folder)!r}); b.build_wheel({str(folder)!r})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    return folder


@pytest.mark.slow
def test_both_packages_hold_every_file(built: Path) -> None:
    expected = files_of_git()
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(f"{NAME}.dist-info/METADATA").decode()
        entries = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert expected - names == set()
    assert {name for name in names if not name.startswith(f"{NAME}.dist-info/")} == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "joint-ga = nni_plugin.cli:main" in entries
    assert re.search(r"^Requires-Dist: nni==3\.0; platform_machine", metadata, re.MULTILINE)
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert expected - inside == set()
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["-py3-none-any.whl", ".tar.gz"])
def test_it_installs_and_runs_in_a_new_environment(
    built: Path, tmp_path: Path, suffix: str
) -> None:
    """What it needs is lent by this environment; the project's own folder is not on the path."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    lent = [path for path in sys.path if path.endswith("site-packages")]
    # Lines of paths only: a `.pth` file there would bring this project's folder along.
    Path(own, "lent.pth").write_text("\n".join(lent))

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        "--no-build-isolation", "--ignore-installed", built / f"{NAME}{suffix}",
    )  # fmt: skip
    joint_ga = tmp_path / "venv" / "bin" / "joint-ga"
    assert run(joint_ga, "--version").strip() == f"joint-ga {PROJECT['version']}"
    code = (
        "import ga, hardware, nni_plugin, evaluators, sys; "
        "from hardware.device import load_device; load_device('stm32f746'); "
        "print(nni_plugin.__file__)"
    )
    assert Path(run(python, "-c", code).strip()).is_relative_to(tmp_path)


def test_one_version_in_all_places() -> None:
    """Of the package, of its citation, and of the newest entry of the changelog."""
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    newest = re.search(
        r"^## \[(\d[^\]]*)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest
    assert PROJECT["version"] == citation["version"] == newest[1]
