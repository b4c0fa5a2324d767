"""Files and folders that a user names: what is wrong with them is said before any work starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nni_plugin.protocol.suggestions import file_near

__all__ = ["check_writable", "check_writable_file", "existing_file", "inside"]


def existing_file(path: str | Path, what: str = "", suffixes: tuple[str, ...] = ()) -> Path:
    """A file that is to be read.

    Args:
        path: as given.
        what: the option that named it, for the message.
        suffixes: of the files that may have been meant; any if empty.

    Raises:
        FileNotFoundError: there is none; the message names files near it.
        IsADirectoryError: it is a folder; the message names files in it.
        OSError: it can't be read.
    """
    path = Path(path)
    said = f"{what} {path}" if what else str(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{said}: a folder, not a file{file_near(path, suffixes)}")
        with path.open("rb"):
            return path
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{said}: no such file{file_near(path, suffixes)}") from None
    except IsADirectoryError:
        raise
    except (OSError, ValueError) as error:
        raise OSError(f"{said}: can't be read ({_reason(error)})") from None


def check_writable(folder: str | Path, what: str = "") -> None:
    """Tries whether a folder can be made and written; nothing is left of it.

    Args:
        folder: it may not be there yet.
        what: the option that named it, for the message.

    Raises:
        OSError: it is a file, it can't be made, or no file can be made in it.
    """
    folder = Path(folder)
    said = f"{what} {folder}" if what else str(folder)
    try:
        # Where it is to be made, not in it: two commands that begin together don't meet.
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(
                f"{said}: can't be written, {there} is a file: give another folder"
            )
        with tempfile.NamedTemporaryFile(dir=there, prefix=".joint-ga-"):
            pass
    except NotADirectoryError:
        raise
    except (OSError, ValueError) as error:
        raise OSError(f"{said}: can't be written ({_reason(error)}): give another folder") from None


def check_writable_file(path: str | Path, what: str = "") -> None:
    """The same for a file, which stays as it is if it is there.

    Raises:
        OSError: it is a folder, or it can't be written.
    """
    path = Path(path)
    said = f"{what} {path}" if what else str(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{said}: a folder: give the name of a file")
        if path.exists():
            with path.open("ab"):
                return
    except IsADirectoryError:
        raise
    except (OSError, ValueError) as error:
        raise OSError(f"{said}: can't be written ({_reason(error)})") from None
    check_writable(path.parent, f"{said}:")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The working directory for the block, as a trial has it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
