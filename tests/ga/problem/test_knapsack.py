"""Candidates where costs and the sensitivities of genes are known: knapsacks with exact limits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import ga
from ga.messages import Messages
from ga.problem.knapsack import Knapsack, knapsack_of
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Objectives, parse_constraints
from ga.problem.sensitivities import Sensitivities
from support.spaces import GOALS, bits_space, size_only, truth

# The later a layer is, the more bytes it has (see `spaces.truth`); here all lose alike.
ALIKE: dict[str, Any] = {
    f"layer{i}.{kind}": values
    for i in range(3)
    for kind, values in (
        ("prune", {0.25: 0.02, 0.5: 0.1, 0.75: 0.4}),
        ("w_bits", {2: 0.3, 4: 0.01, 8: 0.0}),
    )
}
ONE = np.ones(1)


def peak(params: dict[str, Any]) -> dict[str, float]:
    """Size, and a peak over the layers, which is no sum."""
    widths = [(1 - params[f"layer{i}.prune"]) * (3 - i) for i in range(3)]
    return {**size_only(params), "ram_kb": max(widths)}


def knapsack(
    costs: Any = size_only, sensitivities: Any = ALIKE, **constraints: Any
) -> Knapsack | None:
    return knapsack_of(
        bits_space(3),
        Sensitivities.parse(sensitivities),
        KnownCosts(costs, Messages()),
        Objectives.parse(GOALS),
        parse_constraints(constraints),
    )


def there(**options: Any) -> Knapsack:
    found = knapsack(**options)
    assert found is not None
    return found


def run(trials: int, **options: Any) -> ga.Optimizer:
    optimizer = ga.Optimizer(
        bits_space(3), GOALS, costs=size_only, sensitivities=ALIKE, seed=1, **options
    )
    for _ in range(trials):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, truth(candidate.params))
    return optimizer


def test_hardly_another_network_loses_less_at_a_solution_s_size() -> None:
    space, found = bits_space(3), there()
    free = [
        range(locus.gene.size or 1) if locus.gene.name in ALIKE else (found.mildest[i],)
        for i, locus in enumerate(space.loci)
    ]
    genomes = list(itertools.product(*free))
    sizes = np.array([size_only(space.decode(genome))["size_kb"] for genome in genomes])
    lost = found.lost(genomes)
    solved = found.solutions(found.prior, ONE)
    assert len(solved) >= 6
    best = [lost[sizes <= size_only(space.decode(g))["size_kb"]].min() for g in solved]
    off = found.lost(solved) - best
    # Widths times bits are no sum: a solution may be a step of a gene off.
    assert np.median(off) <= 0.02
    assert off.max() <= 0.35
    assert {found.mildest, found.smallest} <= set(solved)


def test_a_limit_on_a_peak_is_kept_by_every_solution() -> None:
    space, found = bits_space(3), there(costs=peak, ram_kb="<= 1.6")
    solved = found.solutions(found.prior, ONE)
    assert all(peak(space.decode(genome))["ram_kb"] <= 1.6 for genome in solved)
    mildest = space.decode(found.mildest)
    assert [mildest[f"layer{i}.prune"] for i in range(3)] == [0.5, 0.25, 0.0]
    assert all(mildest[f"layer{i}.w_bits"] == 8 for i in range(3)), "bits don't change the peak"


def both(params: dict[str, Any]) -> dict[str, float]:
    """Size, and memory that either of the first two layers may save."""
    return {**size_only(params), "ram_kb": 2 - params["layer0.prune"] - params["layer1.prune"]}


def test_a_limit_is_kept_by_genes_that_save_other_costs_too() -> None:
    losses = {**ALIKE, "layer0.prune": {0.25: 0.02, 0.5: 0.1, 0.75: 0.39}}
    space, found = bits_space(3), there(costs=both, sensitivities=losses, ram_kb="<= 1.5")
    mildest = space.decode(found.mildest)
    assert (mildest["layer0.prune"], mildest["layer1.prune"]) == (0.5, 0.0), "the dearest is spared"
    solved = [space.decode(genome) for genome in found.solutions(found.prior, ONE)]
    assert all(both(params)["ram_kb"] <= 1.5 for params in solved)
    # The second layer is twice as large: what keeps the limit there saves more.
    assert any(params["layer0.prune"] < 0.5 for params in solved)


def test_of_values_that_lose_nothing_the_mildest_is_taken() -> None:
    nothing = {name: {2: 0.3, 4: 0.0, 8: 0.0} for name in ALIKE if name.endswith("w_bits")}
    found = there(costs=peak, sensitivities={**ALIKE, **nothing}, ram_kb="<= 1.6")
    mildest = bits_space(3).decode(found.mildest)
    assert {mildest[f"layer{i}.w_bits"] for i in range(3)} == {8}


def test_without_what_it_needs_there_is_none() -> None:
    assert knapsack(costs=None) is None
    assert knapsack(sensitivities={}) is None
    assert knapsack(sensitivities={"layer0": 0.3}) is None
    zero = {name: dict.fromkeys(values, 0.0) for name, values in ALIKE.items()}
    assert knapsack(sensitivities=zero) is None


def test_the_first_candidates_are_solutions() -> None:
    optimizer = run(12)
    origins = [e.origin for e in optimizer.evaluations]
    assert origins.count("knapsack") >= 10
    first = optimizer.evaluations[0].params
    assert all(first[f"layer{i}.prune"] == 0 for i in range(3)), "the mildest comes first"
    assert {e.origin for e in run(24).evaluations[12:]} - {"knapsack"}


def test_a_limit_on_quality_is_found_within_a_few_trials() -> None:
    optimizer = run(8, constraints={"accuracy": ">= 0.8"})
    whole, *others = [e.metrics for e in optimizer.evaluations if e.metrics and e.violation == 0]
    assert len(others) >= 3
    assert min(float(m["size_kb"]) for m in others) < 0.6 * float(whole["size_kb"])


def test_the_knapsack_alone() -> None:
    origins = [e.origin for e in run(24, strategy="knapsack").evaluations]
    assert origins.count("knapsack") >= 16, "others come when no solution is left"
    with pytest.raises(ValueError, match="strategy='knapsack' needs costs, sensitivities"):
        ga.Optimizer(bits_space(3), GOALS, strategy="knapsack")
    with pytest.raises(
        ValueError, match=r"strategy='greedy' \(allowed: ga, knapsack, gradient, reinforce, de\)"
    ):
        ga.Optimizer(bits_space(3), GOALS, strategy="greedy")


def test_a_search_goes_on_in_the_same_way_after_a_replay() -> None:
    optimizer = run(9)
    again = ga.Optimizer.replay(
        bits_space(3), GOALS, optimizer.evaluations, costs=size_only, sensitivities=ALIKE, seed=1
    )
    assert again.ask() == optimizer.ask()


def test_what_a_gene_really_does_is_learned() -> None:
    """Sensitivities say that all layers are alike; in truth the last one is harmless."""

    def trial(params: dict[str, Any]) -> dict[str, float]:
        lost = sum(
            ALIKE[name].get(params[name], 0.0) * (0.0 if name.startswith("layer2") else 1.0)
            for name in ALIKE
        )
        return {"accuracy": 0.9 - 0.3 * lost, **size_only(params)}

    optimizer = ga.Optimizer(
        bits_space(3), GOALS, costs=size_only, sensitivities=ALIKE, seed=0, surrogate="gp"
    )
    for _ in range(30):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, trial(candidate.params))
    surrogate = optimizer._learner.surrogate
    assert surrogate.prepare({"size_kb"})
    factors = surrogate.factors(np.random.default_rng(0), 1)
    assert factors is not None
    names = [locus.gene.name for locus in optimizer.space.loci if locus.gene.name in ALIKE]
    by_name = dict(zip(names, factors[0], strict=True))
    assert by_name["layer2.w_bits"] < 0.6 * by_name["layer0.w_bits"]
