"""A real browser, for the tests of what a page shows."""

from __future__ import annotations

import os
import shutil
import time
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


def wait_for(driver: Any, script: str, *arguments: object, seconds: float = 120) -> Any:
    """What a script returns, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := driver.execute_script(script, *arguments)):
        assert time.monotonic() < end, f"never true: {script}"
        time.sleep(0.1)
    return value


def open_page(driver: Any, url: str) -> None:
    """Opens a live page or a report and waits until it is drawn; forgets what was logged before."""
    driver.get("about:blank")
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(url)
    wait_for(driver, "return window.jointGA && window.jointGA.updates > 0")


def complaints(driver: Any) -> list[str]:
    """The errors that the page has logged."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
