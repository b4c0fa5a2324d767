from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ga import SearchSpace
from ga.evolution.variation import step
from nni_plugin.adapters.grid import Grid


@given(
    first=st.integers(1, 500),
    count=st.integers(0, 300),
    distance=st.sampled_from([1, 3, 0.1, 0.25, 1e-3]),
    log=st.booleans(),
)
def test_alleles_values_and_units_go_both_ways(
    first: int, count: int, distance: float, log: bool
) -> None:
    gene = Grid.between("x", first, first + count * distance, distance, log=log and distance == 1)
    assert gene.size == count + 1
    for k in {0, count // 2, count}:
        value = gene.decode(k)
        assert gene.encode(value) == k
        assert gene.encode(float(value) * (1 + 1e-15)) == k
        assert gene.from_unit(gene.to_unit(k)) == k
        assert isinstance(value, int) == isinstance(distance, int)
    assert [gene.from_unit(u) for u in (0.0, 1.0)] == [0, count]


def test_values_are_short() -> None:
    assert Grid.between("x", 0.0, 1.0, 0.1).decode(3) == 0.3
    assert Grid.between("x", 1 / 3, 1.0, 1 / 3).decode(0) == 1 / 3


def test_a_logarithm_draws_small_numbers_as_often_as_large_ones() -> None:
    gene, rng = Grid.between("x", 1, 10_000, log=True), random.Random(0)
    drawn = sorted(gene.decode(gene.sample(rng)) for _ in range(2000))
    assert 50 < drawn[1000] < 200


def test_mutation_stays_inside_and_moves() -> None:
    gene, rng = Grid.between("x", 8, 64, 8), random.Random(0)
    assert SearchSpace([gene]).cardinality == 8
    for allele in range(8):
        moved = step(gene, allele, rng)
        assert 0 <= moved < 8
        assert moved != allele


@pytest.mark.parametrize(
    ("bounds", "log"),
    [((1, 0, 1), False), ((0, 1, 0), False), ((0, float("inf"), 1), False), ((0, 9, 1), True)],
)
def test_grids_that_there_are_not(bounds: tuple[float, float, float], log: bool) -> None:
    with pytest.raises(ValueError, match="gene 'x'"):
        Grid.between("x", *bounds, log=log)


@pytest.mark.parametrize("value", [7, 12, 72, "8", None, float("nan")])
def test_values_beside_the_grid_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"x=.*8 to 64 by 8"):
        Grid.between("x", 8, 64, 8).encode(value)
