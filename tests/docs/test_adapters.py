"""The pages on Optuna and Ray Tune, followed as they are written."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.extras import extra
from support.paths import REPOSITORY


def listings(page: str) -> list[str]:
    text = (REPOSITORY / "docs" / "guide" / page).read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_page_on_optuna() -> None:
    optuna = extra("optuna", "optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    blocks = listings("optuna.md")
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        # Ten trials show it; the surrogate's model begins after them.
        exec(block.replace("n_trials=30", "n_trials=10"), names)
        assert len(names["study"].best_trials) >= 1
        assert {trial.state.name for trial in names["study"].trials} == {"COMPLETE"}
        if "size_kb" in block:
            assert all(trial.values[1] <= 60 for trial in names["study"].trials)
    assert "act/leaky/slope" in {name for t in names["study"].trials for name in t.params}


@pytest.mark.slow
def test_the_page_on_ray_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = extra("ray", "ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    first, second = listings("ray_tune.md")
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20)
    try:
        names: dict[str, Any] = {}
        exec(first, names)
        assert len(names["results"]) == 6
        assert not names["results"].num_errors
        assert names["front"]
        exec(second, names)
    finally:
        ray.shutdown()
