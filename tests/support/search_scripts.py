"""The modules in `benchmarks/search`, which import each other as scripts do."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from support.paths import REPOSITORY


def search_script(name: str) -> ModuleType:
    """Imports `benchmarks/search/<name>.py` and what lies beside it.

    The folder stays on the path, last: some of the scripts import others when they run.
    """
    folder = str(REPOSITORY / "benchmarks/search")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
