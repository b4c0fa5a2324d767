"""The modules in `benchmarks/search`, which import each other as scripts do."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from support.paths import REPOSITORY


def search_script(name: str) -> ModuleType:
    """Imports `benchmarks/search/<name>.py` and what lies beside it."""
    folder = str(REPOSITORY / "benchmarks/search")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
