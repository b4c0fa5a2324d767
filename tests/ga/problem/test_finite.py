"""Numbers too large for a float, and values too long for a message, are refused in clear words."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import ga
from ga.problem.finite import as_finite, is_finite, shortened
from ga.problem.objectives import Objectives, read_metric
from ga.problem.sensitivities import Sensitivities

HUGE = 10**400


def test_only_what_a_float_holds_is_a_number() -> None:
    assert as_finite(10**300) == 1e300
    assert [as_finite(v) for v in (HUGE, -HUGE, math.nan, math.inf, True, "1", None)] == [None] * 7
    assert is_finite(3)
    assert not is_finite(HUGE)


def test_what_a_message_shows_is_short() -> None:
    for value in (HUGE, 10**5000, ["x" * 1000]):
        assert 0 < len(shortened(value)) < 70


def test_a_value_nested_deeper_than_the_stack_is_shown() -> None:
    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    assert "too large to print" in shortened(deep)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: read_metric({"acc": HUGE}, "acc"), r"metric acc=1000.*too large for a float"),
        (
            lambda: Objectives.parse({"a": "minimize"}).losses({"a": -HUGE}),
            "metric a=-1000.*too large",
        ),
        (
            lambda: Sensitivities.parse({"conv": HUGE}),
            r"'conv' has 1000.*a finite number is needed",
        ),
        (lambda: Sensitivities.parse([1]), r"sensitivities=\[1\] is no mapping; give \{layer"),
        (lambda: Sensitivities.parse({3: 1}), "sensitivities: 3 is no name of a layer"),
        (lambda: ga.Ordered("g", (1, HUGE)), "'g' takes finite numbers only, got 1000"),
        (lambda: ga.Integer("g", 0, HUGE), "'g' needs bounds of at most"),
        (lambda: ga.Real("g", 0, HUGE), "'g' needs finite bounds, got 1000"),
        (lambda: ga.Real("g", -1e308, 1e308), "'g' needs finite bounds, got -1e"),
        (lambda: ga.Real("g", 0.0, 1.0, step=1e-320), "'g': step .* is too small"),
        (lambda: ga.Real("g", 1e-320, 1.0, log=True), "'g' has high=1.0 .* too far apart"),
        (lambda: ga.Normal("g", 0.0, 1e3, log=True), "'g' has mu=0.0, sigma=1000.0: its values"),
        (lambda: ga.Normal("g", 0.0, HUGE), "'g' needs finite bounds, got 1000.* as its sigma"),
        (lambda: ga.Integer("g", 0, 9).encode(HUGE), "g=1000.* is not in the search space"),
        (lambda: ga.Real("g", 0, 9).encode(HUGE), "g=1000.* is not in the search space"),
        (
            lambda: ga.SearchSpace([ga.Integer("g", 0, 9)]).encode({"g": 1, 2: 3, "x": 1}),
            "parameter 'x' is not in the search space",
        ),
        (lambda: ga.SearchSpace([ga.Integer("g", 0, 9)]).encode([1]), r"are a dict, got \[1\]"),
        (lambda: _optimizer(population_size=HUGE), "population_size=1000"),
        (lambda: _optimizer(budget=HUGE), "budget=1000.* should be a number of trials"),
        (lambda: _optimizer(seed=10**5000), "seed=<int too large to print> should be"),
    ],
)
def test_a_number_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert len(str(caught.value)) < 400


def _optimizer(**options: int) -> ga.Optimizer:
    return ga.Optimizer(ga.SearchSpace([ga.Integer("g", 0, 9)]), {"x": "minimize"}, **options)


def test_a_bound_of_many_digits_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        ga.Constraint.parse("ram_kb", "<= " + "9" * 30_000 + "x")


@pytest.mark.parametrize(
    "gene",
    [
        ga.Real("g", 1e-300, 1.0, log=True),
        ga.Normal("g", 0.0, 140.0, log=True),
        ga.Real("g", -1e300, 1e300),
        ga.Integer("g", -(2**53), 2**53),
    ],
)
def test_the_widest_genes_stay_numbers(gene: ga.Gene) -> None:
    for unit in (0.0, 1e-9, 0.5, 1.0):
        allele = gene.from_unit(unit)
        assert math.isfinite(gene.decode(allele))
        assert 0.0 <= gene.to_unit(allele) <= 1.0
        assert gene.encode(gene.decode(allele)) == allele
