"""Which networks are trained to the end."""

from __future__ import annotations

from ga.forecast.choose import finalist, to_learn_from

FRONT = [(-0.9, 20.0), (-0.85, 12.0), (-0.8, 8.0), (-0.5, 4.0), (-0.2, 2.0)]


def test_the_first_is_the_knee_and_the_next_ones_spread() -> None:
    chosen = [to_learn_from(FRONT, [1.0] * 5)]
    for _ in range(2):
        chosen.append(to_learn_from(FRONT, [1.0] * 5, [FRONT[i] for i in chosen]))
    assert chosen[0] == 2
    assert set(chosen[1:]) == {0, 4}


def test_of_two_alike_the_one_in_doubt_is_chosen() -> None:
    losses = [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5)]
    assert to_learn_from(losses, [1.0, 2.0, 1.0], [(0.5, 0.5)]) == 1
    assert to_learn_from(losses, [2.0, 1.0, 1.0], [(0.5, 0.5)]) == 0


def test_finalists_add_hypervolume_and_are_never_chosen_twice() -> None:
    chosen: list[int] = []
    while (new := finalist(FRONT, chosen)) is not None:
        chosen.append(new)
    assert sorted(chosen) == list(range(5))
    assert chosen[0] == 2, "the one in the middle covers most"


def test_one_network_and_equal_ones() -> None:
    assert to_learn_from([(0.0, 0.0)], [1.0]) == 0
    assert finalist([(1.0, 1.0), (1.0, 1.0)], [0]) == 1
    assert finalist([(1.0, 1.0)], [0]) is None
