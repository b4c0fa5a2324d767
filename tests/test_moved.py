"""Old import paths: each raises an error that names a path that is there."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import evaluators.moved
import ga.moved
import hardware.moved
import nni_plugin.moved
from support.paths import REPOSITORY

MOVED = {
    old: new
    for package in (ga, hardware, evaluators, nni_plugin)
    for old, new in package.moved.MOVED.items()
}
GONE = {old for old, new in MOVED.items() if new.startswith("gone ")}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_says_the_new_one(old: str) -> None:
    words = f"{old} is {MOVED[old]} since version 0.2"
    with pytest.raises(ModuleNotFoundError) as raised:
        importlib.import_module(old)
    assert str(raised.value) == words
    package, _, name = old.rpartition(".")
    if hasattr(importlib.import_module(package), name):
        return  # a function of that name, which always was importable so
    with pytest.raises(ImportError) as raised_too:
        exec(f"from {package} import {name}")
    assert str(raised_too.value) == words


@pytest.mark.parametrize("new", sorted({MOVED[old] for old in MOVED if old not in GONE}))
def test_a_new_path_is_there(new: str) -> None:
    try:
        importlib.import_module(new)
    except ModuleNotFoundError:
        module, _, name = new.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_only_its_own_package_is_needed() -> None:
    code = (
        "import sys, ga\ntry:\n    import ga.boxes\nexcept ModuleNotFoundError as e: print(e)\n"
        "print([n for n in ('nni_plugin', 'evaluators', 'hardware', 'torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "ga.boxes is ga.acquisition.ehvi since version 0.2",
        "[]",
    ]


def test_search_is_the_function_and_says_where_its_module_is() -> None:
    from nni_plugin import search

    assert callable(search)
    with pytest.raises(ModuleNotFoundError, match=r"nni_plugin\.local_run"):
        exec("from nni_plugin.search import search")
    with pytest.raises(ModuleNotFoundError, match=r"nni_plugin\.study\.journal"):
        exec("from nni_plugin.chromosome import read_chromosome")


def test_a_function_that_left_its_file_says_where_it_is() -> None:
    with pytest.raises(ImportError, match=r"is evaluators\.load_task since"):
        exec("from evaluators.task import load_task")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from evaluators.task import nothing")


def test_what_never_was_is_not_found_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'ga\.nothing'"):
        importlib.import_module("ga.nothing")
