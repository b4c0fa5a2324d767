"""Fetches a data set's official archive once, and trusts nothing but its checksum."""

from __future__ import annotations

import hashlib
import logging
import urllib.error
import urllib.request
from pathlib import Path

from evaluators.cache import locked, write_atomically
from evaluators.datasets.reading import DataError

LOG = logging.getLogger(__name__)
CHUNK = 1 << 20


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(url: str, target: Path, sha256: str, *, timeout_s: float = 20.0) -> Path:
    """Returns the file at ``target``, downloaded from ``url`` if it isn't there yet.

    A download goes to a temporary file that is renamed only when its checksum is right, so an
    interrupted one leaves nothing behind. Concurrent processes download once.

    Args:
        url: of the archive.
        target: where it is kept.
        sha256: expected digest.
        timeout_s: of the connection and of every read.

    Raises:
        DataError: there is no network, the server refuses, or the checksum is wrong.
    """
    with locked(target):
        if target.is_file():
            if checksum(target) == sha256:
                return target
            LOG.warning("%s is damaged (its checksum is wrong); it is fetched again", target)
        LOG.info("fetching %s to %s", url, target)
        try:
            write_atomically(target, lambda path: _download(url, path, sha256, timeout_s))
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise DataError(
                f"{url} can't be fetched ({error}). Without a network, download it elsewhere, then "
                f"copy it to {target}, or give its path with --data"
            ) from error
    return target


def _download(url: str, path: Path, sha256: str, timeout_s: float) -> None:
    with urllib.request.urlopen(url, timeout=timeout_s) as response, path.open("wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
    found = checksum(path)
    if found != sha256:
        raise DataError(
            f"{url} gave {path.stat().st_size} bytes with sha256 {found}, expected {sha256}: the "
            "download was cut off, or the server gave another file. Try again"
        )
