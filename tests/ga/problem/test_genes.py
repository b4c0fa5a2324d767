from __future__ import annotations

import math
import random

import pytest
from hypothesis import given

from ga import Categorical, Integer, Normal, Ordered, Real, SearchSpace
from support.spaces import bits_space, mixed_space, rngs, spaces


@given(spaces(), rngs())
def test_decode_and_encode_are_inverse(space: SearchSpace, rng: random.Random) -> None:
    genome = space.sample(rng)
    params = space.decode(genome)
    again = space.encode(params)
    assert space.decode(again) == params
    assert space.key(again) == space.key(genome)


@given(spaces(), rngs())
def test_unit_coordinates_lie_in_the_unit_interval(space: SearchSpace, rng: random.Random) -> None:
    for locus, allele in zip(space.loci, space.sample(rng), strict=True):
        unit = locus.gene.to_unit(allele)
        assert 0 <= unit <= 1
        if isinstance(allele, int):
            assert locus.gene.from_unit(unit) == allele
        else:
            near = locus.gene.from_unit(unit)
            step = getattr(locus.gene, "step", None) or 0.0
            assert math.isclose(near, allele, rel_tol=1e-3, abs_tol=1e-6 + step)


@given(spaces(), rngs())
def test_distance_is_a_distance(space: SearchSpace, rng: random.Random) -> None:
    a, b, c = (space.sample(rng) for _ in range(3))
    assert space.distance(a, a) == 0
    assert space.distance(a, b) == space.distance(b, a)
    assert 0 <= space.distance(a, b) <= 1
    if not any(locus.parent >= 0 for locus in space.loci):
        assert space.distance(a, c) <= space.distance(a, b) + space.distance(b, c) + 1e-9


@given(spaces())
def test_finite_spaces_list_every_chromosome_once(space: SearchSpace) -> None:
    total = space.cardinality
    if total is None:
        with pytest.raises(ValueError, match="chromosome 0"):
            space.nth(0)
        return
    rng = random.Random(0)
    picks = range(total) if total <= 500 else {rng.randrange(total) for _ in range(300)}
    keys = {repr(space.decode(space.nth(i))) for i in picks}
    assert len(keys) == len(picks)
    with pytest.raises(ValueError, match="chromosome"):
        space.nth(total)


def test_cardinality_counts_nested_choices_once() -> None:
    space = SearchSpace(
        [
            Ordered("a", (1, 2)),
            Categorical("b", ("x", "y"), ((Integer("k", 0, 2),), ())),
            Real("c", 0.0, 1.0, step=0.25),
        ]
    )
    assert space.cardinality == 2 * (3 + 1) * 5


def test_nested_choices_decode_as_nni_does() -> None:
    space = SearchSpace([Categorical("opt", ("sgd", "none"), ((Ordered("lr", (0.1, 1.0)),), ()))])
    decoded = [space.decode(space.nth(i)) for i in range(3)]
    assert {"opt": {"_name": "sgd", "lr": 0.1}} in decoded
    assert {"opt": {"_name": "none"}} in decoded


def test_quantized_values_are_clean_and_inside() -> None:
    gene = Real("m", 0.05, 1.0, step=0.1)
    values = {gene.from_unit(i / 1000) for i in range(1001)}
    assert 0.3 in values  # not 0.30000000000000004
    assert all(0.05 <= v <= 1.0 for v in values)
    assert len(values) == gene.size


def test_log_gene_samples_evenly_over_decades() -> None:
    gene, rng = Real("lr", 1e-4, 1.0, log=True), random.Random(0)
    low = sum(gene.sample(rng) < 1e-2 for _ in range(2000))
    assert 900 < low < 1100


def test_normal_gene_has_its_mean_and_deviation() -> None:
    gene, rng = Normal("n", 3.0, 2.0), random.Random(0)
    values = [gene.sample(rng) for _ in range(4000)]
    mean = sum(values) / len(values)
    assert abs(mean - 3) < 0.15
    assert abs(math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)) - 2) < 0.15


def test_samples_of_many_layers_differ_in_level() -> None:
    space, rng = bits_space(60), random.Random(0)
    means = []
    for _ in range(200):
        params = space.decode(space.sample(rng))
        prunes = [v for k, v in params.items() if k.endswith("prune")]
        means.append(sum(prunes) / len(prunes))
    assert min(means) < 0.15
    assert max(means) > 0.6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ordered("a", ()), "no values"),
        (lambda: Ordered("a", (1, 3, 2)), "not sorted"),
        (lambda: Ordered("a", (1, "2")), "finite numbers only, got '2'"),
        (lambda: Ordered("a", (1, math.nan)), "finite numbers only, got nan"),
        (lambda: Categorical("a", ("x", "x")), "lists 'x' twice"),
        (lambda: Categorical("a", ("x", "y"), ((),)), "children for 1"),
        (lambda: Integer("a", 3, 1), "high=1 < low=3"),
        (lambda: Integer("a", 0.5, 1), "whole bounds, got 0.5"),
        (lambda: Real("a", 0.0, 1.0, log=True), "low > 0"),
        (lambda: Real("a", 2.0, 1.0), "high=1.0 < low=2.0"),
        (lambda: Real("a", 0.0, math.inf), "finite bounds, got inf"),
        (lambda: Real("a", 0.0, 1.0, step=0), "step above 0, got 0"),
        (lambda: Normal("a", 0.0, 0.0), "sigma > 0"),
        (lambda: Integer("", 0, 1), "non-empty string"),
        (lambda: SearchSpace([]), "no gene"),
        (lambda: SearchSpace([Integer("a", 0, 1), Integer("a", 0, 2)]), "two genes are named 'a'"),
    ],
)
def test_bad_genes_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": 41}, "units=41 is not in the search space"),
        ({"units": 1.5}, "units=1.5"),
        ({"lr": 5.0}, "lr=5.0"),
        ({"noise": "loud"}, "noise='loud'"),
        ({"momentum": math.nan}, "momentum=nan"),
        ({"conv1.w_bits": 3}, r"conv1.w_bits=3 .*allowed: 2, 4, 8"),
        ({"conv1.w_bits": True}, "conv1.w_bits=True"),
        ({"optimizer": "sgd"}, "dict with '_name'"),
        ({"optimizer": {"_name": "sgd"}}, "'optimizer/sgd/nesterov' is missing"),
        ({"optimizer": {"_name": "none", "beta": 1}}, "'beta' is not in the search space"),
        ({"extra": 1}, "'extra' is not in the search space"),
    ],
)
def test_params_outside_the_space_are_refused(change: dict[str, object], message: str) -> None:
    space = mixed_space()
    params = space.decode(space.sample(random.Random(0)))
    with pytest.raises(ValueError, match=message):
        space.encode({**params, **change})


def test_missing_parameter_is_named() -> None:
    with pytest.raises(ValueError, match=r"'layer0\.w_bits' is missing"):
        bits_space(1).encode({"layer0.prune": 0.0, "layer0.a_bits": 4})
