"""The sensitivity table and the ladder made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluators import evaluate, ladder, load_task, sensitivity, trace
from hardware import load_device


@pytest.mark.slow
def test_table_of_the_digits_network(cache: Path) -> None:
    task = load_task("evaluators.tasks.digits:build")
    network = trace(task)
    device = load_device("stm32f746")
    for old in cache.glob("digits-sensitivity-*"):
        old.unlink()
    reported: list[dict[str, object]] = []
    rows = sensitivity(
        task, device=device, network=network, ratios=(0.25, 0.75), report=reported.append
    )
    assert reported == rows
    prunable = [g.name for g in network.groups if g.prunable]
    genes = {row["gene"] for row in rows}
    assert genes >= {f"{name}.prune" for name in prunable}
    assert genes >= {f"{name}.w_bits" for name in network.gene_layers}
    for row in rows:
        assert row["drop"] == pytest.approx(task.baseline_metric - row["metric"], abs=2e-6)
        if row["gene"].endswith("_bits") and row["value"] == 8:
            assert abs(row["drop"]) < 0.01
    hardest = max(row["drop"] for row in rows)
    assert hardest > 0.05

    # The second time it comes from the cache, equal.
    again = sensitivity(
        task, device=device, network=network, ratios=(0.25, 0.75), report=reported.append
    )
    assert again == rows
    assert len(reported) == len(rows)

    rungs = ladder(rows, steps=5)
    assert 2 <= len(rungs) <= 6
    sizes = [
        evaluate(task, rung, device=device, network=network, epochs=0).metrics["size_kb"]
        for rung in (rungs[0], rungs[-1])
    ]
    assert sizes[1] < sizes[0] / 2
    assert all(rungs[-1][f"{name}.prune"] == 0.75 for name in prunable)


def test_ladder_of_a_small_table() -> None:
    rows = [
        {"layer": "a", "gene": "a.prune", "value": 0.5, "metric": 0.9, "drop": 0.0},
        {"layer": "a", "gene": "a.w_bits", "value": 8, "metric": 0.9, "drop": 0.0},
        {"layer": "a", "gene": "a.w_bits", "value": 4, "metric": 0.8, "drop": 0.1},
        {"layer": "b", "gene": "b.prune", "value": 0.5, "metric": 0.1, "drop": 0.8},
    ]
    rungs = ladder(rows, steps=3)
    assert rungs[0] == {"a.prune": 0.5, "a.w_bits": 8}
    assert rungs[-1] == {"a.prune": 0.5, "a.w_bits": 4, "b.prune": 0.5}
    assert ladder([], steps=3) == []
    with pytest.raises(ValueError, match="steps=0"):
        ladder(rows, steps=0)
