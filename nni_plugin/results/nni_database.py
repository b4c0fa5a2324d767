"""NNI's own database of an experiment, which is only ever read."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["select"]

_PATIENCE_S = 10.0


def select(database: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query finds; a running manager is not disturbed.

    A manager that was killed while it wrote leaves a rollback journal beside its database. Only who
    may write can play that back, so it is played back in a copy.

    Args:
        database: the file.
        query: a SELECT.

    Raises:
        sqlite3.DatabaseError: it is damaged, or no database.
    """
    try:
        return _rows(f"{database.as_uri()}?mode=ro", query)
    except sqlite3.OperationalError:
        journal = database.with_name(f"{database.name}-journal")
        if not journal.exists():
            raise
        with tempfile.TemporaryDirectory() as folder:
            copied = shutil.copy(database, folder)
            shutil.copy(journal, folder)
            return _rows(Path(copied).as_uri(), query)


def _rows(uri: str, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S)) as connection:
        return connection.execute(query).fetchall()
