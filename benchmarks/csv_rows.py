"""Rows of a benchmark's file, added as they come: what a stopped run has done is kept."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def append_row(path: Path, row: Mapping[str, object], columns: Sequence[str]) -> None:
    """Adds a row to a file, which begins with the columns' names; what a row lacks stays empty."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
