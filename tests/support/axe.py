"""axe-core in a test's browser: what of a page a keyboard or a screen reader can't get at."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

GRAVE = ("serious", "critical")


def axe_js() -> str:
    """The text of axe.min.js, which selenium-axe-python brings; without it the test skips."""
    spec = importlib.util.find_spec("selenium_axe_python")
    if spec is None or spec.origin is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs selenium-axe-python (pip install -e .[dev])")
        pytest.skip("selenium-axe-python is not installed (pip install -e .[dev])")
    return (Path(spec.origin).parent / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def grave_findings(driver: Any) -> list[str]:
    """The serious and critical findings of the page that is open, each with where it is."""
    driver.execute_script(axe_js())
    driver.set_script_timeout(60)
    found = driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, { resultTypes: ['violations'] }).then((r) => done(r.violations),"
        "(error) => done([{ impact: 'critical', id: String(error), nodes: [] }]))"
    )
    return [
        f"{finding['impact']} {finding['id']}: {node['target']} {node['failureSummary']}"
        for finding in found
        if finding["impact"] in GRAVE
        for node in finding["nodes"] or [{"target": "", "failureSummary": ""}]
    ]
