"""axe-core in a test's browser: what of a page a keyboard or a screen reader can't get at."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
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


COLOUR_RULES = ("color-contrast", "link-in-text-block")
"""All that a colour scheme can break."""


def grave_findings(driver: Any, rules: Sequence[str] = ()) -> list[str]:
    """The serious and critical findings of the page that is open, each with where it is.

    Args:
        driver: of the browser.
        rules: look at these only; all if empty.
    """
    if not driver.execute_script("return Boolean(window.axe)"):
        driver.execute_script(axe_js())
    driver.set_script_timeout(60)
    found = driver.execute_async_script(
        "const [rules, done] = arguments, options = { resultTypes: ['violations'] };"
        "if (rules.length) options.runOnly = rules;"
        "axe.run(document, options).then((r) => done(r.violations),"
        "(error) => done([{ impact: 'critical', id: String(error), nodes: [] }]))",
        list(rules),
    )
    return [
        f"{finding['impact']} {finding['id']}: {node['target']} {node['failureSummary']}"
        for finding in found
        if finding["impact"] in GRAVE
        for node in finding["nodes"] or [{"target": "", "failureSummary": ""}]
    ]
