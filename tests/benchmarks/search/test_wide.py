"""Volumes and tables of wide searches, and what pairs of genes explain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.search_scripts import search_script


@pytest.fixture
def wide() -> Any:
    return search_script("wide")


def runs(wide: Any, seeds: int) -> pd.DataFrame:
    """Ours has twice what chance has, everywhere; of the last seed fronts by belief are missing."""
    rows = []
    for seed in range(seeds):
        for name, share in (("ours", 0.8), ("chance", 0.4)):
            volumes = dict.fromkeys(wide.COLUMNS, share * (1 + seed / 100))
            volumes |= {c: np.nan for c in wide.COLUMNS if c.startswith("believed") and seed == 5}
            rows.append({"instance": "a-0", "sampler": name, "seed": seed, **volumes})
    return pd.DataFrame(rows)


def test_a_report_has_shares_of_the_best_and_corrected_p(wide: Any) -> None:
    lines = wide.report(runs(wide, 6), {"a-0": 2.0}).splitlines()
    ours, chance = lines[2:]
    assert ours.startswith("| ours | 6 | 0.410 | ")
    assert ours.endswith("|  |  |")
    assert chance.startswith("| chance | 6 | 0.205 | ")
    assert chance.endswith("| 0.016, 0.016, 0.016 | 0.016, 0.016, 0.016 |")


def test_runs_that_lack_a_column_are_left_out(wide: Any) -> None:
    found = wide.report(runs(wide, 6), {"a-0": 2.0}, what=("found", "believed"))
    assert "| ours | 5 |" in found


def test_instances_without_a_reference_are_left_out(wide: Any) -> None:
    both = pd.concat([runs(wide, 6), runs(wide, 6).assign(instance="b-0")])
    assert wide.report(both, {"a-0": 2.0}) == wide.report(runs(wide, 6), {"a-0": 2.0})


def test_fewer_than_five_pairs_have_no_p(wide: Any) -> None:
    chance = wide.report(runs(wide, 4), {"a-0": 2.0}).splitlines()[-1]
    assert chance.endswith("| -, -, - | -, -, - |")


def test_volumes_tell_all_from_the_two_fronts(wide: Any) -> None:
    instance = wide.Instance("resnet20", 0)
    small = {"size_kb": 0.5 * instance.whole["size_kb"], "latency_ms": 1.0, "ram_kb": 0.0}
    # The second was lucky: by its reading it dominates the first, which is truly better.
    better = {"true": 0.84, "accuracy": 0.80, **small, "believed25": 1.0}
    lucky = {"true": 0.80, "accuracy": 0.85, **small, "believed25": 0.0}
    rows = [better, lucky, *([{**lucky, "accuracy": 0.5, "true": 0.5}] * 23)]
    found = instance.volumes(rows)
    assert set(found) == {"found25", "kept25", "believed25"}
    assert found["believed25"] == found["found25"] > found["kept25"]


def test_pairs_that_add_up_leave_nothing() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.random((2, 20))
    added = pd.DataFrame({"one": one, "other": other, "both": one + other})
    explained = search_script("pair_terms").explained
    assert explained(added)[1:] == ["0.000", "1.00", "1.00", "1.00"]
    joined = added.assign(both=one + other + np.sqrt(one * other))
    *_, by_factor, with_pairs = map(float, explained(joined))
    assert with_pairs == 1.0 > by_factor
