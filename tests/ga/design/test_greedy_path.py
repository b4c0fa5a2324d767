"""The first candidates where costs and the sensitivities of genes are known."""

from __future__ import annotations

from typing import Any

import pytest

import ga
from ga.design.greedy_path import GreedyPath, greedy_path
from ga.messages import Messages
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Objectives
from ga.problem.sensitivities import Sensitivities
from ga.problem.uniform_settings import corners
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


def look(sensitivities: Any, costs: Any) -> GreedyPath | None:
    space = bits_space(3)
    return greedy_path(
        space,
        corners(space),
        Sensitivities.parse(sensitivities),
        KnownCosts(costs, Messages()),
        Objectives.parse(GOALS),
    )


def path(sensitivities: dict[str, Any] = ALIKE) -> GreedyPath:
    found = look(sensitivities, size_only)
    assert found is not None
    return found


def test_what_saves_most_for_its_loss_comes_first() -> None:
    space, found = bits_space(3), path()
    first = space.decode(found.genomes[1])
    changed = {name: value for name, value in first.items() if value not in (0.0, 8)}
    assert changed == {"layer2.w_bits": 4}, "half of the bytes of the largest layer for .01"
    sizes = [size_only(space.decode(genome))["size_kb"] for genome in found.genomes]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_everything_that_saves_is_compressed_in_the_end() -> None:
    last = bits_space(3).decode(path().genomes[-1])
    for i in range(3):
        assert last[f"layer{i}.prune"] == 0.75
        assert last[f"layer{i}.w_bits"] == 2
        assert last[f"layer{i}.a_bits"] == 8, "it saves nothing"


def test_a_value_that_loses_more_and_saves_less_is_passed_over() -> None:
    # Half of the channels lose more than three quarters do: nobody takes them.
    poor = {**ALIKE, "layer2.prune": {0.25: 0.02, 0.5: 0.5, 0.75: 0.1}}
    chosen = {bits_space(3).decode(genome)["layer2.prune"] for genome in path(poor).genomes}
    assert 0.5 not in chosen


@pytest.mark.parametrize(
    ("sensitivities", "costs"),
    [({"layer0": 0.1}, size_only), (ALIKE, None), (ALIKE, lambda params: {"macs": 1.0})],
)
def test_without_costs_or_genes_there_is_no_way(sensitivities: Any, costs: Any) -> None:
    assert look(sensitivities, costs) is None


def search(**options: Any) -> ga.Optimizer:
    return ga.Optimizer(
        bits_space(3), GOALS, costs=size_only, sensitivities=ALIKE, population_size=12, **options
    )


def test_part_of_the_design_is_near_the_way() -> None:
    optimizer = search()
    asked = [optimizer.ask() for _ in range(12)]
    assert [c.origin for c in asked[:8]] == ["corner"] * 5 + ["greedy"] * 3
    sizes = [c.costs["size_kb"] for c in asked if c.origin == "greedy" and c.costs]
    assert max(sizes) > 1.5 * min(sizes), "from mild to strong"


def test_genomes_aside_are_a_few_genes_from_the_way() -> None:
    found = path()
    for genome in found.neighbours(8, seed=1):
        changes = [sum(a != b for a, b in zip(genome, on, strict=True)) for on in found.genomes]
        assert min(changes) <= 6
    assert found.neighbours(8, seed=1) == found.neighbours(8, seed=1) != found.neighbours(8, seed=2)


def test_a_limit_on_a_known_cost_holds_for_the_stations() -> None:
    optimizer = search(constraints={"size_kb": "<= 20"})
    for _ in range(12):
        candidate = optimizer.ask()
        assert (candidate.costs or {})["size_kb"] <= 20


def test_a_replay_goes_on_with_the_same_stations() -> None:
    first = search(seed=2)
    for _ in range(4):
        candidate = first.ask()
        first.tell(candidate.id, truth(candidate.params))
    again = ga.Optimizer.replay(
        bits_space(3),
        GOALS,
        first.evaluations,
        costs=size_only,
        sensitivities=ALIKE,
        population_size=12,
        seed=2,
    )
    assert [again.ask().params for _ in range(4)] == [first.ask().params for _ in range(4)]
