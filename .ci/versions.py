"""Runs the tests that need neither torch nor NNI, on other Pythons and versions of other packages.

    python .ci/versions.py                                    3.11 to 3.13, highest versions
    python .ci/versions.py --resolution lowest --python 3.11  the lowest that pyproject.toml allows

Each run has an environment of its own in a temporary folder. Interpreters are taken from PATH and
from ~/.pyenv/versions; one that is not there is an error. Prints one line for each run, with the
counts of its tests, and exits with 1 if any test failed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
RESOLUTIONS = {"lowest": "lowest-direct", "highest": "highest"}
WITHOUT = {"torch", "nni", "setuptools", "onnx", "onnxruntime"}
"""Not installed: large, or not to be had everywhere."""
TOOLS = ("pytest>=8.0", "pytest-xdist>=3.5", "hypothesis>=6.100", "optuna>=4.0")
TESTS = (
    "ga",
    "nni_plugin/study",
    "nni_plugin/adapters",
    "nni_plugin/test_search_space.py",
    *(f"hardware/{room}" for room in ("calibration", "ir", "kernels", "latency", "memory")),
    "hardware/test_device.py",
    "hardware/test_stacks.py",
)
"""Not `hardware/measure`, which measures networks of torch and ONNX, nor the speed of costs."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def interpreter(version: str) -> Path:
    """A Python of a version such as `3.12`.

    Raises:
        SystemExit: there is none.
    """
    if found := shutil.which(f"python{version}"):
        done = subprocess.run([found, "-c", "print()"], capture_output=True, check=False)
        if done.returncode == 0:  # pyenv's shims exist for versions that are not chosen
            return Path(found)
    for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")):
        return path
    sys.exit(f"no python{version} on PATH or in ~/.pyenv/versions: install it")


def requirements() -> list[str]:
    """What the tests need, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        text for text in project["dependencies"] if _NAME.match(text)[0].lower() not in WITHOUT
    ]
    return [*needed, *TOOLS]


def counts(output: str) -> str:
    """The last line of pytest that counts."""
    lines = [line.strip("= ") for line in output.splitlines() if re.search(r"\d+ passed", line)]
    return lines[-1] if lines else "no test passed"


def run(version: str, resolution: str, uv: str, tests: Iterable[str], workers: int) -> bool:
    """One environment, its tests, and a line of what came of them."""
    with tempfile.TemporaryDirectory(prefix="joint-ga-versions-") as folder:
        environment = Path(folder) / "venv"
        python = environment / "bin" / "python"
        subprocess.run(
            [uv, "venv", "-q", "--no-config", "-p", interpreter(version), environment], check=True
        )
        subprocess.run(
            [
                uv, "pip", "install", "-q", "--no-config", "-p", python, "--only-binary", ":all:",
                "--resolution", RESOLUTIONS[resolution], *requirements(),
            ],
            check=True,
        )  # fmt: skip
        chosen = subprocess.run(
            [uv, "pip", "freeze", "--no-config", "-p", python],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        done = subprocess.run(
            [
                python, "-m", "pytest", "-q", "-n", str(workers), "-m", "not slow and not emulator",
                "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CI": ""},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        print(done.stdout[-6000:])
    shown = ", ".join(sorted(_worth_saying(chosen)))
    print(f"Python {version}, {resolution}: {counts(done.stdout)} ({shown})", flush=True)
    return done.returncode == 0


def _worth_saying(frozen: str) -> Iterator[str]:
    for line in frozen.splitlines():
        name, _, version = line.partition("==")
        if name in ("numpy", "scipy", "scikit-learn", "deap", "pandas", "moocore"):
            yield f"{name} {version}"


def main() -> None:
    """Runs all that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="such as 3.12; may be repeated")
    parser.add_argument("--resolution", choices=RESOLUTIONS, default="highest")
    parser.add_argument("--uv", default="uv", help="the uv program")
    parser.add_argument("--workers", type=int, default=2, help="processes of pytest")
    parser.add_argument("tests", nargs="*", default=TESTS, help="folders below tests/")
    options = parser.parse_args()
    passed = [
        run(version, options.resolution, options.uv, options.tests, options.workers)
        for version in options.python or PYTHONS
    ]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
