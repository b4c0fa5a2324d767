"""What a search takes for granted of a kind of gene, for kinds that it doesn't know by name."""

from __future__ import annotations

import numpy as np
import pytest

import ga
from ga import GeneTraits
from ga.problem.gene_traits import BUILT_IN, CORNERS
from ga.problem.sensitivities import Sensitivities
from ga.problem.uniform_settings import corners
from ga.surrogate.features import Features

HALVED = (1.0, 0.5, 0.25, 0.125)


def space(traits: dict[str, GeneTraits] | None) -> ga.SearchSpace:
    genes = [ga.Ordered("a.w_bits", (2, 4, 8)), ga.Ordered("a.width", HALVED)]
    return ga.SearchSpace(genes, traits)


def test_without_traits_a_space_has_no_corners() -> None:
    assert corners(space(None)) == []
    known = corners(ga.SearchSpace([ga.Ordered("a.w_bits", (2, 4, 8))]))
    assert [genome[0] for genome in known] == [2, 0, 1]


def test_a_kind_joins_the_known_corners_and_adds_its_own() -> None:
    both = space({"width": GeneTraits("high", {"half_pruned": "middle", "slim": "low"})})
    found = [both.decode(genome) for genome in corners(both)]
    assert found[0] == {"a.w_bits": 8, "a.width": 1.0}
    assert {"a.w_bits": 8, "a.width": 0.25} in found
    # After all the known ones, and neutral for the kinds that don't name it.
    assert found[-1] == {"a.w_bits": 8, "a.width": 0.125}


def test_all_corners_of_the_known_kinds_are_listed() -> None:
    assert {name for traits in BUILT_IN.values() for name in traits.corners} < set(CORNERS)


def test_hardship_spaces_the_values() -> None:
    octaves = GeneTraits("high", hardship=lambda values: np.asarray(-np.log2(values)))
    one = ga.SearchSpace([ga.Ordered("a.width", HALVED)], {"width": octaves})
    rows = Features(one, Sensitivities({}, {})).rows([(i,) for i in range(4)], [{}] * 4)
    assert rows[:, 0] == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(("mild", "left"), [("low", {0.0}), ("high", {1.0})])
def test_the_milder_end_stays_where_nothing_is_saved(mild: str, left: set[float]) -> None:
    traits = {"drop": GeneTraits("low", {"all": "high"}, milder=mild)}  # type: ignore[arg-type]
    genes = [ga.Ordered("a.drop", (0.0, 0.5, 1.0)), ga.Ordered("a.w_bits", (2, 4, 8))]
    search = ga.Optimizer(
        ga.SearchSpace(genes, traits),
        {"accuracy": "maximize", "size_kb": "minimize"},
        costs=lambda params: {"size_kb": float(params["a.w_bits"])},
    )
    candidates = [search.ask() for _ in range(3)]
    assert {candidate.params["a.drop"] for candidate in candidates} == left
