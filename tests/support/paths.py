"""Folders that tests read from, wherever the test itself lies."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("JOINT_GA_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
"""The data packs, which only some machines have."""
