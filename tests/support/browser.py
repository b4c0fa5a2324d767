"""A real browser, for the tests of what a page shows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest


def start_chromium(profile: Path) -> Any:
    """Headless Chromium that logs requests and console messages; without it the test skips."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium and chromedriver (make system)")
        pytest.skip("chromium and chromedriver are not installed (make system)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "no-proxy-server", "window-size=1500,1400", "disable-dev-shm-usage",
        f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)
