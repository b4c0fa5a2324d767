"""Looks at the machine: what would keep an experiment from running, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evaluators.cache import cache_dir
from evaluators.nni_imports import nni_advice
from nni_plugin.setup.launcher import SessionError, free_port
from nni_plugin.user_paths import check_writable

__all__ = ["Finding", "examine"]

_OLDEST, _NEWEST = (3, 11), (3, 13)
_TOOLS = {
    "qemu-system-arm": "runs exported C on an emulated Cortex-M: apt-get install qemu-system-arm",
    "arm-none-eabi-gcc": "compiles exported C: apt-get install gcc-arm-none-eabi",
}
_LEAST_FREE_MB = 1000


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``level`` is ``ok``, ``note`` (optional) or ``bad`` (stops a run)."""

    level: str
    what: str
    advice: str = ""


def examine(port: int = 8080) -> list[Finding]:
    """Everything that was looked at, in the order of a run."""
    return [
        *_python(),
        *_packages(),
        *_path(),
        *_registration(),
        *_machine(port),
        *_tools(),
    ]


def _python() -> Iterator[Finding]:
    here = f"Python {sys.version.split()[0]} at {sys.executable}"
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        yield Finding("ok", here)
    else:
        yield Finding("bad", here, "NNI 3.0 with PyTorch runs on 3.11 to 3.13: make a venv of one")


def _packages() -> Iterator[Finding]:
    try:
        installed = version("nni")
        advice = "" if installed == "3.0" else "this package is made for it: pip install nni==3.0"
        yield Finding("bad" if advice else "ok", f"nni {installed}", advice)
    except PackageNotFoundError:
        yield Finding("bad", "nni is not installed", nni_advice())
    try:
        installed = version("setuptools")
        too_new = int(installed.split(".")[0]) >= 81
        advice = "nnictl imports pkg_resources: pip install 'setuptools<81'" if too_new else ""
        yield Finding("bad" if too_new else "ok", f"setuptools {installed}", advice)
    except PackageNotFoundError:
        yield Finding("bad", "setuptools is not installed", "pip install 'setuptools<81'")
    for name in ("torch", "deap", "moocore", "plotly", "onnxruntime"):
        yield _package(name)


def _package(name: str) -> Finding:
    try:
        return Finding("ok", f"{name} {version(name)}")
    except PackageNotFoundError:
        return Finding("bad", f"{name} is not installed", f"pip install {name}")


def _path() -> Iterator[Finding]:
    own = Path(sys.executable).parent
    found = shutil.which("python3")
    if found and Path(found).parent == own:
        yield Finding("ok", f"python3 on PATH is this one ({found})")
    else:
        yield Finding(
            "note",
            f"python3 on PATH is {found or 'missing'}, not {own / 'python3'}",
            "'joint-ga run' puts it right by itself; for plain nnictl activate the environment: "
            f"export PATH={own}:$PATH",
        )
    if shutil.which("nnictl", path=str(own)):
        yield Finding("ok", f"nnictl at {own / 'nnictl'}")
    else:
        yield Finding("note", "nnictl is not beside this Python", "pip install --force nni==3.0")


def _registration() -> Iterator[Finding]:
    try:
        from nni_plugin.registration import is_registered

        known = is_registered()
    except ImportError as error:
        yield Finding("bad", f"NNI does not import: {error}", "see the packages above")
        return
    if known:
        yield Finding("ok", "JointGA is registered with NNI")
    else:
        yield Finding(
            "note",
            "JointGA is not registered with NNI",
            "'joint-ga run' does it; for plain nnictl: joint-ga register",
        )


def _machine(port: int) -> Iterator[Finding]:
    try:
        free_port(port)
        yield Finding("ok", f"port {port} is free")
    except SessionError:
        yield Finding("note", f"port {port} is in use", "'joint-ga run' takes the next free one")
    home = Path.home()
    try:
        check_writable(home)
        free = shutil.disk_usage(home).free // 2**20
        low = free < _LEAST_FREE_MB
        yield Finding(
            "note" if low else "ok",
            f"{free:,} MB free in {home}",
            "NNI writes to ~/nni-experiments; set experimentWorkingDirectory" if low else "",
        )
    except OSError as error:
        yield Finding("bad", str(error), "NNI writes to ~/nni-experiments")
    yield _cache()
    yield Finding("ok", f"{os.cpu_count()} cores")


def _cache() -> Finding:
    try:
        folder = cache_dir()
        check_writable(folder)
    except OSError as error:
        advice = "float models are trained anew each time: set JOINT_GA_CACHE to another folder"
        return Finding("note", f"cache: {error}", advice)
    return Finding("ok", f"cache: {folder} can be written")


def _tools() -> Iterator[Finding]:
    for name, use in _TOOLS.items():
        path = shutil.which(name)
        yield Finding(
            "ok" if path else "note", f"{name}: {path or 'not found'}", "" if path else use
        )
