"""NNI's database, also one whose manager was killed while it wrote."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nni_plugin.results.nni_database import select

KILLED_WHILE_IT_WROTE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("CREATE TABLE t (n INTEGER, x TEXT)")
connection.execute("INSERT INTO t VALUES (1, 'there')")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE t SET x = 'half'")
for n in range(2, 2000):
    connection.execute("INSERT INTO t VALUES (?, ?)", (n, "x" * 500))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_write_that_was_cut_off_is_undone_in_what_is_read(tmp_path: Path) -> None:
    database = tmp_path / "nni.sqlite"
    subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_WROTE, database], check=False)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(left) == {"nni.sqlite", "nni.sqlite-journal"}
    assert select(database, "SELECT n, x FROM t") == [(1, "there")]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nni.sqlite").write_text("no database, but long enough to be one" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        select(tmp_path / "nni.sqlite", "SELECT 1 FROM t")
