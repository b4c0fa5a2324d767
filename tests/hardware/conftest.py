"""The emulator's tools: in CI they must be here, elsewhere tests that need them skip."""

from __future__ import annotations

import os

import pytest

from hardware.measure.qemu import missing_tools


@pytest.fixture(scope="session")
def emulator() -> None:
    missing = missing_tools()
    if not missing:
        return
    message = f"the emulator's tools are not installed: {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
