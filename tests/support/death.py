"""What the kernel does for a process that dies: here processes are objects in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_ALIVE: dict[Path, Callable[[], None]] = {}


def succeed_in(folder: Path, let_go: Callable[[], None]) -> None:
    """Begin a process in a folder; the one that was there before is dead and holds no file.

    Args:
        folder: where its journal lies.
        let_go: closes its journals, once it is dead itself.
    """
    former = _ALIVE.get(folder)
    if former is not None:
        former()
    _ALIVE[folder] = let_go
