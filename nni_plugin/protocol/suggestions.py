"""What someone may have meant who wrote a name that there isn't."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to a message, ``" (did you mean 'ram_kb'?)"``; empty if none is near."""
    names = list(known)
    near = [n for n in names if n.startswith(f"{name}_")] or get_close_matches(name, names, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def file_near(path: Path, suffixes: tuple[str, ...]) -> str:
    """The same for a file that isn't there, or a folder in a file's place.

    Args:
        path: what was given.
        suffixes: of the files that may have been meant.
    """
    try:
        folder = path if path.is_dir() else path.parent
        names = sorted(p.name for p in folder.iterdir() if p.suffix in suffixes)
    except (OSError, ValueError):
        return f" (there is no folder {str(path.parent)!r})"
    if path.is_dir():
        return f" (it holds {', '.join(names[:5]) or 'none'})"
    return did_you_mean(path.name, names) or f" (beside it: {', '.join(names[:5]) or 'none'})"
