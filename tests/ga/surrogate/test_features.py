"""What the models see of a candidate."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from ga import (
    Categorical,
    Ordered,
    Real,
    SearchSpace,
)
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.features import Features, RecentRows
from ga.surrogate.gaussian_process import EFFECT
from support.spaces import bits_space

NONE = Sensitivities.parse(None)


def test_features_of_silent_genes_are_neutral() -> None:
    space = SearchSpace(
        [Categorical("c", ("x", "y"), ((Real("r", 0, 1),), ())), Ordered("o", (1, 2))]
    )
    features = Features(space, NONE)
    rows = features.rows([(1, 0.2, 0), (1, 0.9, 0), (0, 0.9, 0)], [{}, {}, {}])
    assert (rows[0] == rows[1]).all()
    assert (rows[1] != rows[2]).any()


def test_features_fill_missing_costs() -> None:
    features = Features(bits_space(1), Sensitivities.parse({"layer0": 2.0}))
    rows = features.rows([(0, 0, 0)] * 3, [{"kb": 1.0}, {"kb": 3.0}, {}], ("kb",))
    assert np.isfinite(rows).all()
    alone = features.rows([(0, 0, 0)], [{}], ("kb",))
    assert alone.shape[1] == rows.shape[1], "the columns do not depend on what a batch knows"


def test_rows_that_are_kept_are_the_same_to_the_last_bit() -> None:
    space, rng = bits_space(12), random.Random(0)
    features = Features(space, Sensitivities.parse({"layer0.w_bits": {"2": 0.3, "4": 0.1}}))
    recent = RecentRows(features)
    genomes = [space.sample(rng) for _ in range(9)]
    costs = [{"kb": rng.random(), "ms": rng.random()} for _ in genomes]
    for first, last in ((0, 5), (0, 5), (1, 6), (2, 9), (4, 5)):  # none, one and some are new
        part = slice(first, last)
        expected = features.rows(genomes[part], costs[part], ("kb",))
        assert (recent.rows(genomes[part], costs[part], ("kb",)) == expected).all()
    for names, known in ((("kb", "ms"), costs), (("kb",), [{"kb": 0.5}, *costs[1:-1], {}])):
        expected = features.rows(genomes, known, names)
        assert (recent.rows(genomes, known, names) == expected).all(), "another column, or cost"


def test_equal_steps_of_a_coordinate_hurt_alike() -> None:
    space = SearchSpace(
        [
            Ordered("a.prune", (0.0, 1 / 2, 2 / 3, 3 / 4)),
            Ordered("a.w_bits", (8, 4, 2)),
            Ordered("a.units", (0, 1, 2, 3)),
        ]
    )
    genomes = [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 2, 3)]
    rows = Features(space, NONE).rows(genomes, [{}] * 4)
    # 0 to 3 channels removed for each that is left; steps of rounding 2^-7, 2^-3, 2^-1; other
    # genes by their place.
    assert rows[:, 0] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert rows[:3, 1] == pytest.approx([0, (2**-3 - 2**-7) / (2**-1 - 2**-7), 1])
    assert rows[:, 2] == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8])


def test_measured_losses_add_up_by_kind_and_in_all() -> None:
    known = {
        "layer0.prune": {"0.5": 0.2},
        "layer1.prune": {"0.25": 0.1, "0.75": 0.5},
        "layer0.w_bits": {"2": 0.3, "8": -0.01},
    }
    features = Features(bits_space(2), Sensitivities.parse(known))
    # prune, w_bits, a_bits of both layers: a quarter and a half of the channels gone, 4 bits.
    rows = features.rows([(1, 1, 0, 2, 1, 0)], [{}])
    # For each channel that is left a quarter removes 1/3, a half 1, three quarters 3.
    prune = 0.2 / 3 + 0.1 + (0.5 - 0.1) * (1 - 1 / 3) / (3 - 1 / 3)
    bits = 0.3 * (8 - 4) / (8 - 2)
    guesses = np.log(0.01 + np.array([prune, bits, prune + bits]))
    assert rows[0, -6:-3] == pytest.approx(guesses)
    assert features.groups(0)[-3:] == [EFFECT] * 3
    assert sorted(rows[0, -3:]) == pytest.approx(sorted([0.2 / 3, prune - 0.2 / 3, bits]))


@pytest.mark.parametrize("known", [{}, {"layer0": 2.0}, {"layer0.w_bits": {"2": 0.3, "4": 0.1}}])
@pytest.mark.parametrize("layers", [1, 12])
def test_every_column_has_a_group(layers: int, known: dict[str, Any]) -> None:
    genes = [Categorical(f"op{i}", ("x", "y", "z")) for i in range(3)]
    space = SearchSpace([*bits_space(layers).genes, *genes])
    features = Features(space, Sensitivities.parse(known))
    genome = tuple(0 for _ in space.loci)
    rows = features.rows([genome], [{"kb": 1.0, "ms": 2.0}], ("kb", "ms"))
    groups = features.groups(2)
    assert len(groups) == rows.shape[1]
    relevant = {group for group in groups if group != EFFECT}
    assert relevant == set(range(max(groups) + 1)), "a relevance for each number"
    assert len(set(groups)) <= 18, "a long chromosome's layers share theirs"
