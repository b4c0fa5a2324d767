"""CSV files that no spreadsheet runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from nni_plugin.results.csv_file import write_csv


def test_no_cell_starts_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    frame = pd.DataFrame(
        {
            "reason": ["=HYPERLINK(1)", "+1", "-x", "@SUM(A1)", "fine"],
            "loss": [-1.5, 0.0, 1.0, 2.0, 3.0],
            "=cmd": [True, False, True, False, None],
        }
    )
    write_csv(frame, path)
    rows = list(csv.DictReader(path.open()))
    assert [row["reason"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'-x", "'@SUM(A1)", "fine"]
    assert [float(row["loss"]) for row in rows] == [-1.5, 0.0, 1.0, 2.0, 3.0]
    assert "'=cmd" in rows[0]
    assert list(frame.columns) == ["reason", "loss", "=cmd"], "the caller's table is left alone"
