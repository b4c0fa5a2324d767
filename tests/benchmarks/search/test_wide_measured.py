"""Wide instances say what was measured, where nothing is drawn."""

from __future__ import annotations

import csv
import random
from typing import Any

import numpy as np
import pytest

from support.search_scripts import search_script

ROWS = [
    ("kws", "", "", "", "", 0.96, 0.80),
    ("kws", "stem.w_bits", "4", "", "", 0.94, 0.75),
    ("kws", "stem.w_bits", "2", "", "", 0.60, 0.50),
    ("kws", "stem.prune", "0.5", "", "", 0.70, 0.55),
    ("kws", "fc.w_bits", "2", "", "", 0.90, 0.70),
    ("kws", "stem.w_bits", "2", "stem.prune", "0.5", 0.50, 0.40),
    ("kws", "fc.w_bits", "2", "stem.w_bits", "2", 0.55, 0.42),
]


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A DS-CNN of which seven effects were measured, all left after fine-tuning, without noise."""
    module = search_script("wide_measured")
    path = tmp_path / "effects.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(search_script("measure_effects").COLUMNS)
        writer.writerows(ROWS)
    monkeypatch.setattr(module, "PATH", path)
    monkeypatch.setattr(module, "LEFT", 1.0)
    monkeypatch.setattr(module, "SPREAD", 0.0)
    made = module.Measured("ds-cnn", "stm32l4r5", 0)
    made.noise = 0.0
    return made


def true_share(instance: Any, changed: dict[str, float]) -> float:
    """What is left of the accuracy above guessing."""
    mildest = search_script("wide").mildest
    whole = {locus.gene.name: mildest(locus.gene) for locus in instance.space.loci}
    true = instance.trial({**whole, **changed}, np.random.default_rng(0))["true"]
    return float((true - instance.chance) / (instance.top - instance.chance))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "+".join(filter(None, row[1:4:2])) or "float")
def test_an_instance_loses_what_was_measured(instance: Any, row: tuple[Any, ...]) -> None:
    _, gene, value, other, other_value, _, right = row
    changed = {g: float(v) for g, v in ((gene, value), (other, other_value)) if g}
    share = (right - 1 / 12) / (0.80 - 1 / 12)
    assert true_share(instance, changed) == pytest.approx(share, rel=1e-6)


def test_values_between_measured_ones_lie_on_a_line_and_go_on_beyond(instance: Any) -> None:
    told = instance.sensitivities["stem.prune"]
    assert told[0.0] == 0.0
    assert told[0.25] == pytest.approx(0.13)  # half of .96 - .70
    assert told[0.5] == pytest.approx(0.26)
    assert told[0.75] == pytest.approx(0.39)
    assert instance.sensitivities["stem.w_bits"] == pytest.approx({8: 0.0, 4: 0.02, 2: 0.36})


def test_rivals_get_costs_without_a_trial(instance: Any) -> None:
    problem = instance.problem(np.random.default_rng(0))
    params = instance.space.decode(instance.space.sample(random.Random(0)))
    assert problem.costs(params) == instance.costs(params)
    metrics = problem.evaluate(params)
    assert problem.losses(metrics)[1] == pytest.approx(
        metrics["size_kb"] / instance.whole["size_kb"]
    )
    assert all(8 not in told for gene, told in problem.sensitivities.items() if "bits" in gene)
