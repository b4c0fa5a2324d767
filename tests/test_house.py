"""The rules of the house that no linter holds: rooms, names, sizes, and where a test lies.

A file or function over its limit says why in a comment `# Long: reason`: a file within its first
forty lines, a function right above it (or above its decorators).
"""

from __future__ import annotations

import ast
import gc
import importlib
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

from support.paths import REPOSITORY

PACKAGES = ("evaluators", "ga", "hardware", "nni_plugin")
LINES_OF_FILE, LINES_OF_FUNCTION = 400, 60
LAYERS = {
    "ga": set(),
    "hardware": set(),
    "evaluators": {"hardware"},
    "nni_plugin": {"ga", "evaluators", "hardware"},
}
"""Which packages each may import."""
NO_TORCH = {"ga", "hardware", "nni_plugin"}
NO_NNI = {"ga", "hardware"}
# Copied into a user's folder, where torch is at home.
TEMPLATES = {"nni_plugin.setup.template_task", "nni_plugin.setup.template_unlabelled_task"}
ROOMS = {
    "protocol": set(),
    "adapters": {"protocol"},
    "study": {"protocol"},
    "results": {"study", "protocol"},
    "setup": {"study", "protocol"},
    "engines": {"setup", "results", "study", "protocol"},
    "cli": {"engines", "setup", "results", "study", "protocol"},
}
"""Which rooms of the plugin each may import."""
MOST_ANY = 285
"""Half of what it was when the rule was made; `Any` is for what NNI, DEAP, torch or JSON give."""
# Real NNI runs, of all parts of the plugin at once.
OF_NO_FOLDER = {Path("nni_plugin/experiments")}
LONG = re.compile(r"^\s*# Long: \S")


@cache
def files() -> list[Path]:
    """All Python files of the repository."""
    folders = (*PACKAGES, ".ci", "benchmarks", "docs", "experiment_configs", "tests")
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    text = path.read_text(encoding="utf-8")
    # Python 3.11 loses count of its depth when collected garbage runs code in the midst of it.
    gc.disable()
    try:
        return ast.parse(text, str(path))
    finally:
        gc.enable()


@cache
def modules() -> dict[str, Path]:
    """The files of the four packages by the name that they are imported by."""
    found = {}
    for path in files():
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        if parts[0] in PACKAGES:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def short(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def imports(node: ast.AST) -> Iterator[str]:
    """What is imported, inside functions too; not what is for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in modules() else str(child.module) for name in names)
        else:
            yield from imports(child)


@cache
def graph() -> dict[str, set[str]]:
    """The imports of each file of the packages, foreign ones too."""
    return {module: set(imports(tree(path))) - {module} for module, path in modules().items()}


def room(module: str) -> str:
    """Its package and folder; empty for the files beside the rooms, which rooms may share."""
    parts = modules()[module].relative_to(REPOSITORY).parts
    return ".".join(parts[:2]) if len(parts) > 2 else ""


def test_rooms_import_one_way() -> None:
    """Whatever the layers of a package are: no room may need one that needs it."""
    rooms: dict[str, set[str]] = {}
    for module, imported in graph().items():
        others = {room(name) for name in imported if name in modules()}
        rooms.setdefault(room(module), set()).update(others - {room(module), ""})
    del rooms[""]
    assert len(rooms) > 20
    no_circle(rooms)


def test_files_import_one_way() -> None:
    no_circle({module: imported & modules().keys() for module, imported in graph().items()})


def no_circle(imported: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_layers(package: str) -> None:
    forbidden = set(PACKAGES) - LAYERS[package] - {package}
    forbidden |= {"torch"} if package in NO_TORCH else set()
    forbidden |= {"nni"} if package in NO_NNI else set()
    wrong = [
        f"{module} imports {name}"
        for module, imported in graph().items()
        if module.partition(".")[0] == package and module not in TEMPLATES
        for name in imported
        if name.partition(".")[0] in forbidden
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("own", ROOMS)
def test_rooms_of_the_plugin_are_layers(own: str) -> None:
    allowed = {"", *(f"nni_plugin.{name}" for name in ROOMS[own] | {own})}
    wrong = [
        f"{module} imports {name}"
        for module, imported in graph().items()
        if room(module) == f"nni_plugin.{own}"
        for name in imported & modules().keys()
        if name.startswith("nni_plugin") and room(name) not in allowed
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_takes_the_name_of_what_a_package_offers(package: str) -> None:
    """Python binds an imported file's name in its package, over a function that is found late."""
    offered = importlib.import_module(package)
    for name in offered.__all__:
        if f"{package}.{name}" in modules():
            importlib.import_module(f"{package}.{name}")
            assert not isinstance(getattr(offered, name), ModuleType), name


def test_imports_are_absolute() -> None:
    relative = [
        f"{short(path)}:{node.lineno}"
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative, "\n".join(relative)


def test_files_are_short() -> None:
    long = []
    for path in files():
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LINES_OF_FILE and not any(LONG.match(line) for line in lines[:40]):
            long.append(f"{short(path)}: {len(lines)} lines")
    assert not long, "\n".join(long)


def test_functions_are_short() -> None:
    long = []
    for path in files():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            count = (node.end_lineno or 0) - node.lineno + 1
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if count > LINES_OF_FUNCTION and not LONG.match(lines[first - 2]):
                long.append(f"{short(path)}:{node.lineno} {node.name}: {count} lines")
    assert not long, "\n".join(long)


def test_any_is_rare() -> None:
    """Counted in the packages as `git grep -wo Any` counts, imports and comments included."""
    count = sum(
        len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8"))) for path in modules().values()
    )
    assert count <= MOST_ANY


def test_tests_lie_where_what_they_test_lies() -> None:
    tests = REPOSITORY / "tests"
    found = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert len(found) > 20
    strange = [folder for folder in found - OF_NO_FOLDER if not (REPOSITORY / folder).is_dir()]
    assert not strange, f"no such folder beside tests/: {sorted(map(str, strange))}"


def test_a_test_lies_in_the_room_of_the_file_that_it_is_named_after() -> None:
    wrong = []
    for path in (path for path in files() if path.name.startswith("test_")):
        folder = path.parent.relative_to(REPOSITORY / "tests")
        name = path.stem.removeprefix("test_")
        homes = (
            {
                file.parent.relative_to(REPOSITORY)
                for file in modules().values()
                if file.stem == name and file.is_relative_to(REPOSITORY / folder.parts[0])
            }
            if folder.parts
            else set()
        )
        if homes and folder not in {*homes, *OF_NO_FOLDER}:
            wrong.append(f"{short(path)} belongs into {' or '.join(f'tests/{h}' for h in homes)}")
    assert not wrong, "\n".join(wrong)


def test_there_is_one_conftest() -> None:
    """A second one's fixtures would be found only by those who know of it."""
    assert [short(path) for path in files() if path.name == "conftest.py"] == ["tests/conftest.py"]
