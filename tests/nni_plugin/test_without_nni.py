"""Without NNI and torch all but the tuner's side works; what needs NNI says what to do."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from importlib.metadata import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from evaluators.nni_imports import missing_nni
from nni_plugin.setup.nni_files import missing_requirements, unpack
from support.paths import REPOSITORY

HIDE = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
"""


def python(code: str, *hidden: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Runs code where some packages are not to be had."""
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden) + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (path, str(REPOSITORY))))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_what_needs_no_nni_imports_without_it() -> None:
    """All of `ga`, `hardware` and the plugin but the six files that speak to NNI."""
    done = python(
        """
        import importlib, pkgutil
        for package in ("ga", "hardware", "nni_plugin"):
            found = importlib.import_module(package)
            for info in pkgutil.walk_packages(found.__path__, package + "."):
                if "template" in info.name or info.name.endswith((".__main__", ".testing")):
                    continue
                try:
                    importlib.import_module(info.name)
                except ModuleNotFoundError as error:
                    print(info.name, error.name.partition(".")[0])
        """,
        *("nni", "torch", "torchvision", "optuna", "ray"),
    )
    assert done.returncode == 0, done.stderr
    needs = dict(line.split() for line in done.stdout.splitlines())
    assert {name for name, package in needs.items() if package == "nni"} == {
        "nni_plugin.assessor",
        "nni_plugin.protocol.dispatcher_faults",
        "nni_plugin.protocol.plain_json",
        "nni_plugin.setup.nnictl",
        "nni_plugin.tuner",
    }
    others = {name for name, package in needs.items() if package != "nni"}
    assert all(name.startswith("nni_plugin.adapters.") for name in others)


def test_a_study_runs_without_nni(tmp_path: Path) -> None:
    done = python(
        f"""
        import ga, hardware
        from nni_plugin.study.study import Study
        from nni_plugin.study.tuner_args import TunerArgs
        from pathlib import Path
        configs = Path({str(REPOSITORY / "experiment_configs")!r})
        args = TunerArgs.parse(
            {{"objectives": {{"accuracy": "maximize", "size_kb": "minimize"}},
              "costs": {{"network": "digits.space.network.json", "device": "stm32f746"}},
              "surrogate": "none"}},
            base=[configs],
        )
        import json
        space = json.loads((configs / "digits.space.json").read_text())
        study = Study(args, space, {str(tmp_path / "journal.jsonl")!r})
        for _ in range(3):
            trial = study.ask()
            study.tell(trial.uid, {{"accuracy": 0.5, **trial.costs}})
        print(len(study.optimizer.front()))
        """,
        *("nni", "torch"),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


@pytest.mark.parametrize(
    "code",
    [
        "import nni_plugin; nni_plugin.JointGATuner",
        "from nni_plugin import ParetoAssessor",
        "from evaluators.nni_imports import nni_pruning; nni_pruning()",
        "import sys; sys.argv[1:] = ['register']; from nni_plugin.cli import main; main()",
    ],
)
def test_what_needs_nni_says_what_to_do(code: str) -> None:
    done = python(code, "nni")
    assert done.returncode == 1
    assert "nni is not installed: pip install nni==3.0" in done.stderr


def test_another_machine_is_told_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "no package for aarch64" in missing_nni()
    assert "joint-ga nni-files" in missing_nni()


@pytest.mark.parametrize(
    ("machine", "needed"),
    [("x86_64", True), ("AMD64", True), ("aarch64", False), ("arm64", False)],
)
def test_nni_is_required_where_it_has_a_package(machine: str, needed: bool) -> None:
    """Its wheels are for Linux and macOS on x86_64, and for Windows, which calls that AMD64."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [
        requirement.name
        for requirement in map(Requirement, project["dependencies"])
        if requirement.marker is None or requirement.marker.evaluate({"platform_machine": machine})
    ]
    assert ("nni" in wanted) == ("setuptools" in wanted) == needed
    assert {"torch", "deap", "numpy"} <= set(wanted)


# ---- NNI's Python files, from a wheel made of the installed ones


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As NNI's own, with a bit of its server."""
    path = tmp_path_factory.mktemp("wheel") / "nni-3.0-py3-none-manylinux1_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files("nni") or ():
            name = str(file)
            wanted = name.startswith(("nni/", "nni-3.0.dist-info/", "nni_node/common/"))
            if wanted and "__pycache__" not in name and Path(file.locate()).is_file():
                archive.write(file.locate(), name)
    return path


def test_unpacked_files_hold_no_server(wheel: Path, tmp_path: Path) -> None:
    count = unpack(wheel, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"nni", "nni-3.0.dist-info"}
    assert count == sum(path.is_file() for path in tmp_path.rglob("*")) - 1
    assert not (tmp_path / "nni-3.0.dist-info" / "entry_points.txt").exists()
    assert missing_requirements(tmp_path) == []
    with pytest.raises(FileExistsError, match="is there already"):
        unpack(wheel, tmp_path)


@pytest.mark.slow
def test_trials_compress_with_the_unpacked_files(wheel: Path, tmp_path: Path) -> None:
    unpack(wheel, tmp_path / "target")
    done = python(
        """
        import evaluators, hardware, nni
        task = evaluators.load_task("nni_plugin.setup.template_task:build")
        network = evaluators.trace(task)
        device = hardware.load_device("stm32f746")
        params = {"0.prune": 0.5, "0.w_bits": 4}
        result = evaluators.evaluate(task, params, device=device, network=network, epochs=0)
        print(nni.__file__, result.metrics["size_kb"], sep="\\n")
        """,
        path=str(tmp_path / "target"),
    )
    assert done.returncode == 0, done.stderr
    where, size = done.stdout.splitlines()[-2:]
    assert Path(where).is_relative_to(tmp_path / "target")
    assert float(size) > 0


@pytest.mark.parametrize("content", [None, "text", "zip"])
def test_files_that_are_no_wheel_of_nni(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "nni.whl"
    if content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other/__init__.py", "")
    elif content:
        path.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=r"nni\.whl"):
        unpack(path, tmp_path / "target")
