from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ga import Optimizer
from ga.evolution.individual import Individual, loss_fitness
from ga.evolution.survival import SURVIVALS, rate, survivors
from ga.history.pareto import hypervolume
from ga.problem.uniform_settings import corners
from support.spaces import GOALS, bits_space, truth


def individuals(points: list[tuple[float, ...]], violations: list[float]) -> list[Individual]:
    return [
        Individual((i,), loss_fitness(len(p))(tuple(map(float, p))), v, i)
        for i, (p, v) in enumerate(zip(points, violations, strict=True))
    ]


def beats(one: Individual, other: Individual) -> bool:
    """Constrained domination."""
    if one.violation or other.violation:
        return one.violation < other.violation
    return bool(one.fitness.dominates(other.fitness))


@pytest.mark.parametrize("name", sorted(SURVIVALS))
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 2)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 30),
)
def test_survivors_obey_constrained_domination(
    name: str, rows: list[tuple[int, ...]], count: int
) -> None:
    everyone = individuals([r[:3] for r in rows], [float(r[3]) for r in rows])
    chosen = survivors(SURVIVALS[name], everyone, count)
    assert len(chosen) == min(count, len(everyone))
    assert len({id(i) for i in chosen}) == len(chosen)
    ranks = {id(i): i.rank for i in rate(everyone)}
    out = [i for i in everyone if all(i is not c for c in chosen)]
    for loser in out:
        # Nobody stays who is worse by constrained domination than one that goes.
        assert not any(beats(loser, c) and ranks[id(loser)] < ranks[id(c)] for c in chosen)


def test_infeasible_ones_come_after_feasible_ones_by_violation() -> None:
    everyone = individuals([(0, 0), (1, 1), (2, 2), (3, 3)], [0.5, 0.0, 0.1, 0.0])
    assert [i.number for i in rate(everyone)] == [1, 3, 2, 0]


def test_hypervolume_selection_drops_the_least_share() -> None:
    points = [(0.0, 1.0), (1.0, 0.0), (0.4, 0.4), (0.41, 0.39)]
    kept = SURVIVALS["hypervolume"](individuals(points, [0.0] * 4), 3)
    volumes = {i: hypervolume(np.delete(np.array(points), i, axis=0), [1.1, 1.1]) for i in range(4)}
    assert {i.number for i in kept} == set(range(4)) - {max(volumes, key=lambda i: volumes[i])}


@pytest.mark.parametrize("name", sorted(SURVIVALS))
def test_every_survival_finds_a_front_and_leaves_numpys_generator_alone(name: str) -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    optimizer = Optimizer(
        bits_space(), {**GOALS, "depth": "minimize"}, survival=name, surrogate="none"
    )
    for _ in range(80):
        candidate = optimizer.ask()
        depth = sum(v for k, v in candidate.params.items() if k.endswith("a_bits"))
        optimizer.tell(candidate.id, {**truth(candidate.params), "depth": depth})
    assert len(optimizer.front()) > 3
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]


# ---- seeding, ending, explaining


def test_corners_are_uniform_and_only_for_compression_spaces() -> None:
    space = bits_space(3)
    first, second = (space.decode(g) for g in corners(space)[:2])
    assert set(first.values()) == {0.0, 8}
    assert {k.split(".")[1]: v for k, v in second.items()} == {
        "prune": 0.0,
        "w_bits": 2,
        "a_bits": 4,
    }
    from support.spaces import mixed_space

    assert corners(mixed_space()) == []


def test_sensitivities_of_layers_alone_leave_the_design_as_it_is() -> None:
    def design(**options: Any) -> list[Any]:
        optimizer = Optimizer(bits_space(3), GOALS, surrogate="none", **options)
        return [optimizer.ask().params for _ in range(20)]

    assert design() == design(sensitivities={"layer1": 0.1, "layer0": 0.5})


def test_the_search_ends_by_trials() -> None:
    optimizer = Optimizer(bits_space(), GOALS, budget=10, surrogate="none")
    for _ in range(10):
        assert optimizer.should_stop() is None
        optimizer.fail(optimizer.ask().id)
    assert optimizer.should_stop() == "budget"


def test_the_search_ends_by_stagnation() -> None:
    optimizer = Optimizer(bits_space(), GOALS, stagnation=15, surrogate="none")
    rng = random.Random(0)
    ends = None
    for i in range(60):
        candidate = optimizer.ask()
        better = {"accuracy": 0.5 + i / 100, "size_kb": 30 - i}
        optimizer.tell(
            candidate.id, better if i < 20 else {"accuracy": 0.1, "size_kb": 40 + rng.random()}
        )
        if optimizer.should_stop():
            ends = i
            break
    assert ends is not None
    assert 32 <= ends <= 36


def test_the_search_ends_when_the_space_does() -> None:
    optimizer = Optimizer(bits_space(1), GOALS, surrogate="none")
    for _ in range(24):
        optimizer.ask()
    with pytest.raises(Exception, match="no new candidate"):
        optimizer.ask()
    assert optimizer.should_stop() is None  # some are still in flight
    for candidate in optimizer.pending:
        optimizer.tell(candidate.id, truth(candidate.params))
    assert optimizer.should_stop() == "exhausted"
    assert any("exhausted" in note for note in optimizer.messages.texts)


def test_hypervolume_history_ends_at_the_hypervolume() -> None:
    optimizer = Optimizer(bits_space(), GOALS, {"size_kb": "<= 60"}, surrogate="none")
    reference = {"accuracy": 0.0, "size_kb": 80.0}
    for _ in range(40):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, truth(candidate.params))
    history = optimizer.hypervolume_history(reference)
    assert len(history) == 40
    assert history == sorted(history)
    assert history[-1] == pytest.approx(optimizer.hypervolume(reference))
    assert 0 <= optimizer.hypervolume_history()[-1] <= 1.1
