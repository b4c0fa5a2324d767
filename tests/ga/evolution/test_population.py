"""The steady-state population: one comes in, the worst goes out."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ga import Integer, SearchSpace
from ga.evaluation import Evaluation
from ga.evolution.individual import Individual
from ga.evolution.population import Population, population_size_for
from ga.evolution.survival import SURVIVALS
from ga.evolution.toolbox import Toolbox
from ga.messages import Messages

SPACE = SearchSpace([Integer("i", 0, 99)])


def population(size: int, survival: str = "nsga2", **operators: Any) -> tuple[Population, Toolbox]:
    box = Toolbox(SPACE, 2, SURVIVALS[survival], operators, Messages())
    return Population(size, box, 0), box


def result(
    box: Toolbox, number: int, losses: tuple[float, float], violation: float = 0.0
) -> Individual:
    evaluation = Evaluation(number, {}, {}, losses=losses, violation=violation)
    return box.evaluated((number % 100,), evaluation)


def numbers(members: list[Individual]) -> list[int]:
    return [member.number for member in members]


def test_it_grows_to_its_size_then_the_dominated_one_goes() -> None:
    people, box = population(3)
    for number, losses in enumerate([(0.0, 2.0), (2.0, 0.0), (3.0, 3.0)]):
        people.add(result(box, number, losses))
    assert sorted(numbers(people.members)) == [0, 1, 2]
    people.add(result(box, 3, (1.0, 1.0)))
    assert sorted(numbers(people.members)) == [0, 1, 3]
    people.add(result(box, 4, (9.0, 9.0)))
    assert sorted(numbers(people.members)) == [0, 1, 3], "the newcomer is the worst"


def test_among_equals_the_crowded_one_goes() -> None:
    people, box = population(4)
    # On a line: the third has the nearest neighbours.
    for number, x in enumerate([0.0, 4.0, 4.5, 5.0, 10.0]):
        people.add(result(box, number, (x, -x)))
    assert sorted(numbers(people.members)) == [0, 1, 3, 4]


def test_infeasible_members_go_first_by_violation() -> None:
    people, box = population(2)
    people.add(result(box, 0, (0.0, 0.0), violation=0.5))
    people.add(result(box, 1, (1.0, 1.0), violation=0.1))
    people.add(result(box, 2, (9.0, 9.0)))
    assert numbers(people.members) == [2, 1], "best first"
    people.add(result(box, 3, (8.0, 8.0)))
    assert numbers(people.members) == [3, 2]


def test_a_second_result_of_a_genome_takes_the_place_of_the_first() -> None:
    people, box = population(3)
    for number, losses in ((1, (0.0, 0.0)), (2, (1.0, -1.0)), (101, (5.0, 5.0))):
        people.add(result(box, number, losses))
    assert numbers(people.members) == [2, 101]


@pytest.mark.parametrize("survival", sorted(SURVIVALS))
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25), st.data())
def test_members_follow_from_the_results_however_often_they_are_looked_at(
    survival: str, points: list[tuple[int, int]], data: st.DataObject
) -> None:
    """What a replay relies on: it looks once, at the end."""
    often, box = population(5, survival)
    once, _ = population(5, survival)
    for number, (a, b) in enumerate(points):
        for people in (often, once):
            people.add(result(box, number, (float(a), float(b))))
        if data.draw(st.booleans()):
            assert len(often.members) <= 5
    assert numbers(often.members) == numbers(once.members)


def test_parents_are_the_better_ones_more_often() -> None:
    people, box = population(4)
    for number in range(4):
        people.add(result(box, number, (float(number), float(number))))
    rng = random.Random(0)
    chosen = Counter(numbers([p for _ in range(2000) for p in people.parents(rng)]))
    # The best of two draws with replacement: (7, 5, 3, 1) / 16.
    for number, share in enumerate((7, 5, 3, 1)):
        assert chosen[number] / 4000 == pytest.approx(share / 16, abs=0.03)


def test_a_selection_that_picks_one_twice_still_fills_the_places() -> None:
    def greedy(individuals: list[Individual], k: int) -> list[Individual]:
        return [max(individuals, key=lambda i: i.number)] * k

    people, box = population(3, select=greedy)
    for number in range(6):
        people.add(result(box, number, (float(number), float(number))))
    assert sorted(numbers(people.members)) == [0, 1, 5], "the pick, then the best ones"


@pytest.mark.parametrize("size", [1, 0, True, 2.5, "20"])
def test_sizes_that_make_no_sense_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=f"population_size={size!r}"):
        population_size_for(None, size)
