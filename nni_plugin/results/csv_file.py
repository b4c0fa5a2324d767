"""Tables as CSV files that a spreadsheet opens without running anything."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that spreadsheets take for a formula (OWASP, "CSV Injection")."""


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table; a text that a spreadsheet would take for a formula gets a ``'`` in front.

    Names of layers and reasons of failures come from models and trials, which may be strangers'.

    Raises:
        OSError: the file can't be written.
    """
    safe = frame.rename(columns=_quoted)
    for position, (_, column) in enumerate(frame.items()):
        if not pd.api.types.is_numeric_dtype(column):
            safe.isetitem(position, [_quoted(value) for value in column])
    safe.to_csv(path, index=False)


def _quoted(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_STARTS_A_FORMULA) else value
