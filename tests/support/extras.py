"""Optional packages: here in CI, elsewhere what needs one is skipped."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def extra(module: str, name: str) -> ModuleType:
    """A module of one of the project's extras.

    Args:
        module: as it is imported.
        name: of the extra.
    """
    if os.environ.get("CI"):
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"pip install 'nni-joint-ga[{name}]'")
