"""What holds for every strategy under the one optimizer: replay, limits, names."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ga import Evaluation, Optimizer, SearchSpace
from ga.strategies.registry import STRATEGIES
from support.spaces import GOALS, bits_space, mixed_space, size_only, truth

ALONE: dict[str, dict[str, Any]] = {
    "de": {"population_size": 6},
    "reinforce": {},
    "gradient": {"initial": [{f"layer{i}.{k}": v for i in range(4) for k, v in
                              (("prune", 0.25), ("w_bits", 4), ("a_bits", 8))}]},
}  # fmt: skip


def run(strategy: str, trials: int, **options: Any) -> Optimizer:
    options = {"seed": 3, "costs": size_only, **ALONE[strategy], **options}
    optimizer = Optimizer(bits_space(), GOALS, strategy=strategy, **options)
    for turn in range(trials):
        candidate = optimizer.ask()
        if turn % 7 == 6:
            optimizer.fail(candidate.id, "crashed")
        else:
            optimizer.tell(candidate.id, truth(candidate.params))
    return optimizer


@pytest.mark.parametrize("strategy", ALONE)
@pytest.mark.parametrize("cut", [3, 17, 33])
def test_a_replayed_search_goes_on_like_the_first(strategy: str, cut: int) -> None:
    whole = run(strategy, 44)
    first = run(strategy, cut)
    options = {"seed": 3, "costs": size_only, **ALONE[strategy]}
    log: list[Evaluation] = first.evaluations
    second = Optimizer.replay(bits_space(), GOALS, log, strategy=strategy, **options)
    for turn in range(cut, 44):
        candidate = second.ask()
        if turn % 7 == 6:
            second.fail(candidate.id, "crashed")
        else:
            second.tell(candidate.id, truth(candidate.params))
    assert [(e.params, e.origin) for e in second.evaluations] == [
        (e.params, e.origin) for e in whole.evaluations
    ]


@pytest.mark.parametrize("strategy", ALONE)
def test_limits_on_known_costs_are_kept(strategy: str) -> None:
    sizes = sorted(size_only(bits_space().decode(bits_space().sample(random.Random(i))))["size_kb"]
                   for i in range(200))  # fmt: skip
    limit = sizes[40]
    found = run(strategy, 40, constraints={"size_kb": f"<= {limit}"}).evaluations
    assert all(size_only(e.params)["size_kb"] <= limit for e in found)


@pytest.mark.parametrize("strategy", ALONE)
def test_neither_surrogate_nor_genetic_operators_have_a_say(strategy: str) -> None:
    own = {"gradient": "neighbour"}.get(strategy, strategy)
    origins = [e.origin for e in run(strategy, 44).evaluations]
    assert origins.count(own) > 20
    assert not set(origins) & {"ga", "surrogate", "knapsack"}


@pytest.mark.parametrize("strategy", ["de", "reinforce"])
def test_it_learns(strategy: str) -> None:
    """More volume than as many random chromosomes, in the mean of eight seeds."""
    reference = {"accuracy": 0.0, "size_kb": 80.0}

    def gain(seed: int, trials: int) -> float:
        space = bits_space()
        optimizer = Optimizer(space, GOALS, costs=size_only, seed=seed, strategy=strategy)
        rng = random.Random(seed)
        for _ in range(trials):
            candidate = optimizer.ask()
            optimizer.tell(candidate.id, truth(candidate.params))
        chance = Optimizer(space, GOALS, seed=seed)
        for _ in range(trials):
            params = space.decode(space.sample(rng))
            chance.inject(params, truth(params))
        return optimizer.hypervolume(reference) - chance.hypervolume(reference)

    assert sum(gain(seed, 60) for seed in range(8)) > 4.0


@pytest.mark.parametrize("strategy", ["de", "reinforce"])
def test_every_kind_of_gene(strategy: str) -> None:
    """Conditional, continuous and whole ones, with and without costs."""
    space: SearchSpace = mixed_space()
    for costs in (None, lambda params: {"b": float(params["units"])}):
        optimizer = Optimizer(
            space, {"a": "maximize", "b": "minimize"}, costs=costs, strategy=strategy
        )
        for _ in range(40):
            candidate = optimizer.ask()
            assert space.decode(space.encode(candidate.params)) == candidate.params
            units = float(candidate.params["units"])
            optimizer.tell(candidate.id, {"a": units - candidate.params["lr"], "b": units})
        # As another program may have written it: its last digit is not the grid's.
        optimizer.inject({**candidate.params, "momentum": 0.1 + 0.2}, {"a": 1.0, "b": units})
        optimizer.ask()


def test_the_points_come_first_then_their_neighbours() -> None:
    found = run("gradient", 10).evaluations
    assert found[0].origin == "initial"
    assert found[0].params == ALONE["gradient"]["initial"][0]
    assert {e.origin for e in found[1:]} == {"neighbour"}
    changed = [sum(e.params[k] != found[0].params[k] for k in e.params) for e in found[1:3]]
    assert 1 <= min(changed) <= 4


def test_unknown_names_and_missing_points_are_refused() -> None:
    with pytest.raises(ValueError, match=r"strategy=3 \(allowed: ga, knapsack, gradient"):
        Optimizer(bits_space(), GOALS, strategy=3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="'initial', and there are none"):
        Optimizer(bits_space(), GOALS, strategy="gradient")
    assert list(STRATEGIES) == ["ga", "knapsack", "gradient", "reinforce", "de"]
