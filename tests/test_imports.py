"""Folders are layers: which may import which, and that nothing goes round in a circle.

Imports inside functions count like those at the top of a file; those for types only don't.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from support.paths import REPOSITORY

PACKAGES = {
    "ga": set(),
    "hardware": set(),
    "evaluators": {"hardware"},
    "nni_plugin": {"ga", "evaluators", "hardware"},
}
FOREIGN = {
    "ga": {"torch", "nni", "onnx", "onnxruntime"},
    "hardware": {"torch", "nni"},
    "evaluators": {"ga"},
    "nni_plugin": {"torch"},
}
ROOMS = {
    "protocol": set(),
    "study": {"protocol"},
    "results": {"study", "protocol"},
    "setup": {"study", "protocol"},
    "cli": {"setup", "results", "study", "protocol"},
}
# Copied into a user's folder, where torch is at home.
TEMPLATE = "nni_plugin.setup.template_task"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    name_of(path): path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")
}


def imports(node: ast.AST) -> Iterator[str]:
    """What a file imports, by full name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module, "a relative import"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield full if full in FILES else child.module
        else:
            yield from imports(child)


GRAPH = {name: set(imports(ast.parse(path.read_text()))) for name, path in FILES.items()}


def test_there_is_no_circle() -> None:
    inside = {name: {n for n in found if n in FILES} - {name} for name, found in GRAPH.items()}
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    forbidden = (set(PACKAGES) - PACKAGES[package] - {package}) | FOREIGN[package]
    found = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        if name.partition(".")[0] == package and name != TEMPLATE
        for other in others
        if other.partition(".")[0] in forbidden
    ]
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_the_plugin_import_one_way(room: str) -> None:
    found = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        if name.startswith(f"nni_plugin.{room}.")
        for other in others
        if other.startswith("nni_plugin.")
        and (there := other.split(".")[1]) in ROOMS
        and there not in ROOMS[room] | {room}
    ]
    assert found == []
