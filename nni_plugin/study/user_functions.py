"""A user's own functions, named ``module:function`` in a config.

The rule for ``sys.path``: while a user's module is imported, and while a function of it runs, the
config's folders stand on it, so that imports inside a function work like those at the top of its
file. Before and after, it is as the caller left it. Modules that were imported stay imported.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def import_path(*folders: str | Path, first: bool = False) -> Iterator[None]:
    """Puts folders on ``sys.path`` for the time of a block, however it ends.

    Args:
        folders: where modules may lie; those that are on the path already stay where they are.
        first: whether they go before the installed packages, or behind them.
    """
    names = dict.fromkeys(str(folder) for folder in folders)
    added = [name for name in names if name not in sys.path]
    if first:
        sys.path[:0] = added
    else:
        sys.path += added
    try:
        yield
    finally:
        for name in added:
            # The user's module may have taken it off itself.
            if name in sys.path:
                sys.path.remove(name)


class UserFunction:
    """A function that finds what lies beside it, also when it imports only once it is called.

    Args:
        function: the user's; its attributes (such as ``batch``) are this one's, too.
        folders: where its imports may lie.
    """

    def __init__(self, function: Callable[..., Any], folders: Iterable[Path]) -> None:
        self._function = function
        self._folders = tuple(folders)
        # Its name and signature tell what it is and what it takes; its attributes stay wrapped.
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: object, **keywords: object) -> Any:
        """What the function returns."""
        with import_path(*self._folders):
            return self._function(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._function, name)
        return UserFunction(value, self._folders) if callable(value) else value

    def __repr__(self) -> str:
        name = getattr(self._function, "__qualname__", None)
        return f"{self._function.__module__}:{name}" if name else repr(self._function)


def load_function(what: str, path: str, folders: Iterable[Path]) -> UserFunction:
    """The function that ``module:function`` names; the module may lie in one of the folders.

    Args:
        what: the setting that names it, for messages.
        path: its value.
        folders: where the module may lie, beside the installed packages.

    Raises:
        ValueError: it can't be imported or is no function.
    """
    folders = tuple(folders)
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ValueError(f"{what}={path!r} should be 'module:function'")
    try:
        with import_path(*folders):
            found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        places = ", ".join(map(str, folders)) or "no folder"
        raise ValueError(
            f"{what}={path!r} can't be loaded: {error} (beside the installed packages, looked in "
            f"{places})"
        ) from error
    if not callable(found):
        raise ValueError(f"{what}={path!r} is {found!r}, not a function")
    return UserFunction(found, folders)
