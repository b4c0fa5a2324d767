"""Files that are computed once: written whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

LOG = logging.getLogger(__name__)
T = TypeVar("T")


def cache_dir() -> Path:
    """``$JOINT_GA_CACHE``, or ``~/.cache/joint-ga``; made if it is missing."""
    path = Path(os.environ.get("JOINT_GA_CACHE") or Path.home() / ".cache" / "joint-ga")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds an exclusive lock that belongs to ``path``; others wait. Freed if a process dies.

    ``waiting`` is called once if another process holds it.

    Where no lock can be had (a read-only folder, another user's), a warning is logged and the
    work goes on without it: it may be done twice, and :func:`write_atomically` keeps it whole.
    """
    with ExitStack() as held:
        try:
            handle = held.enter_context(_lock_file(path))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Closing would not free it while a forked process holds the file.
            held.callback(fcntl.flock, handle, fcntl.LOCK_UN)
        except OSError as error:
            LOG.warning("%s cannot be locked (%s); going on without a lock", path, error)
        yield


def _lock_file(path: Path) -> IO[str]:
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("a")
    except PermissionError:
        # A file that another user made can be locked all the same, if it can be read.
        return lock.open()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` fill a temporary file beside ``path``, then moves it there.

    Raises:
        OSError: the disk is full or read-only. ``path`` is as it was before, and nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # Not as `tempfile` does it, for the owner alone: who may read a shared cache, the umask says.
    temporary.touch(exist_ok=False)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except RuntimeError as error:
        # torch's zip writer turns a full disk into a RuntimeError.
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def cached(
    name: str,
    make: Callable[[], T],
    *,
    load: Callable[[Path], T],
    save: Callable[[T, Path], None],
) -> T:
    """Returns what the cache file holds; makes and stores it first if need be.

    A file that ``load`` can't read (truncated, of another version) is made again, with a line in
    the log. A cache that can't be written, read or locked costs a warning, not the result.

    Args:
        name: file name below :func:`cache_dir`.
        make: computes the value.
        load: reads it back; raises on anything unexpected.
        save: writes it to the path that it is given.
    """
    try:
        path = cache_dir() / name
    except OSError as error:
        LOG.warning("the cache folder cannot be made (%s); going on without a cache", error)
        return make()
    with locked(path):
        try:
            return load(path)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            LOG.warning("%s cannot be read (%s); it is made again", path, error)
        # Whatever a half-written or foreign file makes a reader raise: the value is made anew.
        except Exception as error:
            LOG.warning(
                "%s is damaged or outdated (%s: %s); it is made again",
                path,
                type(error).__name__,
                str(error).splitlines()[0] if str(error) else "no message",
            )
        value = make()
        try:
            write_atomically(path, lambda temporary: save(value, temporary))
        except OSError as error:
            LOG.warning("%s could not be written (%s); going on without it", path, error)
    return value


def fingerprint(*parts: object) -> str:
    """Twelve hex digits that change with any of the parts (their ``repr``, or bytes as such)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:12]
