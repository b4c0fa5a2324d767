"""What someone may have meant who wrote a name that there isn't."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from ga.problem.finite import shortened

_SHOWN = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to a message, ``" (did you mean 'ram_kb'?)"``; empty if none is near."""
    names = list(known)
    near = [n for n in names if n.startswith(f"{name}_")] or get_close_matches(name, names, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def name_near(path: Path) -> str:
    """The same for a file that isn't there, by the names of those beside it."""
    try:
        return did_you_mean(path.name, sorted(p.name for p in path.parent.iterdir()))
    except (OSError, ValueError):
        return ""


def file_near(path: Path, suffixes: tuple[str, ...] = ()) -> str:
    """The same for a file that isn't there, or a folder in a file's place.

    Args:
        path: what was given.
        suffixes: of the files that may have been meant; any if empty.
    """
    try:
        is_folder = path.is_dir()
        folder = path if is_folder else path.parent
        if not is_folder and folder.is_file():
            return f" ({str(folder)!r} is a file, not a folder)"
        names = sorted(p.name for p in folder.iterdir() if not suffixes or p.suffix in suffixes)
    except (OSError, ValueError):
        return f" (there is no folder {shortened(str(path.parent))})"
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    if is_folder:
        return f" (it holds {listed or 'none'})"
    return did_you_mean(path.name, names) or f" (beside it: {listed or 'none'})"
