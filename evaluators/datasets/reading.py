"""Opens what the readers read; what is missing or damaged is a ``DataError`` that says so."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.training import DataError

__all__ = ["DataError", "default_folder", "existing", "read_npz"]


def default_folder(*names: str) -> Path | None:
    """``$JOINT_GA_DATA`` if it is set and holds one of the named files or folders."""
    value = os.environ.get("JOINT_GA_DATA")
    if not value:
        return None
    folder = Path(value).expanduser()
    return folder if any((folder / name).exists() for name in names) else None


def existing(path: str | Path, what: str, advice: str) -> Path:
    """Returns ``path`` if there is something.

    Raises:
        DataError: nothing is there.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"{what}: {found} does not exist. {advice}")
    return found


def read_npz(path: Path, names: Iterable[str], what: str) -> dict[str, NDArray[np.generic]]:
    """Reads the named arrays of a ``.npz`` file.

    Raises:
        DataError: the file is truncated, no ``.npz``, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as pack:
            missing = [name for name in names if name not in pack]
            if missing:
                raise DataError(
                    f"{what}: {path} holds no array {missing[0]!r} (it holds "
                    f"{', '.join(pack.files)}): it is a pack of another data set"
                )
            return {name: pack[name] for name in names}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise DataError(
            f"{what}: {path} is truncated or no .npz file ({error}): copy it again"
        ) from error
