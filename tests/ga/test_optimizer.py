from __future__ import annotations

import math
import random
import time
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ga import (
    Candidate,
    Evaluation,
    Integer,
    Optimizer,
    Ordered,
    Real,
    SearchSpace,
    SpaceExhausted,
    UnsatisfiableConstraint,
)
from support.spaces import GOALS, bits_space, mixed_space, size_only, truth


def plain(*args: Any, **options: Any) -> Optimizer:
    """The genetic algorithm alone: quick, for what does not concern the surrogate."""
    return Optimizer(*args, surrogate="none", **options)


def run(optimizer: Optimizer, trials: int) -> None:
    for _ in range(trials):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, truth(candidate.params))


def test_it_beats_random_search() -> None:
    reference = {"accuracy": 0.0, "size_kb": 80.0}
    ours: list[float] = []
    theirs: list[float] = []
    for seed in range(5):
        optimizer = plain(bits_space(), GOALS, seed=seed)
        run(optimizer, 200)
        ours.append(optimizer.hypervolume(reference))
        space, rng = bits_space(), random.Random(seed)
        other = plain(space, GOALS)
        for _ in range(200):
            params = space.decode([locus.gene.sample(rng) for locus in space.loci])
            other.inject(params, truth(params))
        theirs.append(other.hypervolume(reference))
    assert sum(ours) > sum(theirs)


def test_the_first_candidates_are_corners_then_a_hypercube() -> None:
    optimizer = plain(bits_space(), GOALS, population_size=20)
    asked = [optimizer.ask() for _ in range(20)]
    assert asked[0].origin == "corner"
    assert set(asked[0].params.values()) == {0.0, 8}
    assert asked[-1].origin == "lhs"
    assert {c.id for c in asked} == set(range(1, 21))


def test_users_points_come_first() -> None:
    point = bits_space(1).decode((3, 0, 1))
    optimizer = plain(bits_space(1), GOALS, initial=[point])
    first = optimizer.ask()
    assert (first.params, first.origin) == (point, "initial")
    with pytest.raises(ValueError, match=r"initial\[1\] is not in the search space"):
        Optimizer(bits_space(1), GOALS, initial=[point, {"x": 1}])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_nothing_is_asked_twice_whatever_the_order_of_results(seed: int, slots: int) -> None:
    rng, optimizer = random.Random(seed), plain(mixed_space(), {"m": "minimize"}, seed=seed)
    running: list[Candidate] = []
    seen: set[str] = set()
    for _ in range(60):
        while len(running) < slots:
            candidate = optimizer.ask()
            assert repr(candidate.params) not in seen
            seen.add(repr(candidate.params))
            running.append(candidate)
        done = running.pop(rng.randrange(len(running)))
        match rng.randrange(4):
            case 0:
                optimizer.fail(done.id, "crash")
            case 1:
                optimizer.censor(done.id, {"m": 1.0})
            case _:
                optimizer.tell(done.id, {"m": rng.random()})
    assert len(optimizer.pending) == len(running)
    assert len(optimizer.evaluations) == 60


def test_a_finite_space_is_exhausted_exactly() -> None:
    space = SearchSpace([Ordered("a", (1, 2, 3)), Integer("b", 0, 20)])
    optimizer = plain(space, {"m": "minimize"}, population_size=4)
    for _ in range(63):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, {"m": candidate.params["b"]})
    with pytest.raises(SpaceExhausted, match="after 63 distinct ones"):
        optimizer.ask()


def test_equal_phenotypes_are_one_candidate() -> None:
    space = SearchSpace([Ordered("a", tuple(range(10))), Ordered("b", tuple(range(10)))])
    optimizer = plain(space, {"m": "minimize"}, phenotype=lambda p: p["a"] // 2)
    for _ in range(5):
        optimizer.fail(optimizer.ask().id)
    with pytest.raises(SpaceExhausted):
        optimizer.ask()


def test_a_phenotype_function_that_raises_is_done_without() -> None:
    def broken(params: dict[str, object]) -> str:
        raise KeyError("layer")

    optimizer = plain(bits_space(1), GOALS, phenotype=broken)
    assert optimizer.ask().params != optimizer.ask().params
    assert any("phenotype" in note for note in optimizer.messages.texts)


def test_the_same_seed_gives_the_same_sequence() -> None:
    asked = []
    for _ in range(2):
        optimizer = plain(bits_space(), GOALS, costs=size_only, seed=7)
        run(optimizer, 60)
        asked.append([e.params for e in optimizer.evaluations])
    assert asked[0] == asked[1]
    other = plain(bits_space(), GOALS, costs=size_only, seed=8)
    run(other, 60)
    assert [e.params for e in other.evaluations] != asked[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 70))
def test_a_replayed_search_goes_on_like_the_first(seed: int, cut: int) -> None:
    rng = random.Random(seed)
    options = {"constraints": {"size_kb": "<= 40"}, "costs": size_only, "seed": seed}
    first = plain(bits_space(), GOALS, **options)
    running: list[Candidate] = []
    for _ in range(cut):
        running.append(first.ask())
        if len(running) == 4:
            done = running.pop(rng.randrange(4))
            if rng.random() < 0.2:
                first.fail(done.id)
            else:
                first.tell(done.id, truth(done.params))
    log = first.evaluations + [Evaluation(c.id, c.params, None, "running") for c in first.pending]
    second = Optimizer.replay(bits_space(), GOALS, log, surrogate="none", **options)
    assert [c.id for c in second.pending] == [c.id for c in first.pending]
    for _ in range(15):
        a, b = first.ask(), second.ask()
        assert (a.id, a.params, a.origin, a.costs) == (b.id, b.params, b.origin, b.costs)
        for optimizer in (first, second):
            optimizer.tell(a.id, truth(a.params))
    assert second.front() == first.front()


def test_replay_continues_after_the_highest_id_and_refuses_doubles() -> None:
    space = bits_space(1)
    params = space.decode(space.nth(3))
    log = [
        Evaluation(41, params, truth(params)),
        Evaluation(7, space.decode(space.nth(4)), None, "failed"),
    ]
    assert Optimizer.replay(space, GOALS, log).ask().id == 42
    with pytest.raises(ValueError, match="evaluation 41 is in the log twice"):
        Optimizer.replay(space, GOALS, [log[0], log[0]])


def test_replay_keeps_what_no_longer_fits_the_space() -> None:
    log = [Evaluation(3, {"gone": 1}, {"accuracy": 0.9, "size_kb": 1.0})]
    optimizer = Optimizer.replay(bits_space(), GOALS, log)
    assert [e.id for e in optimizer.front()] == [3]
    assert any("does not fit" in note for note in optimizer.messages.texts)
    assert optimizer.ask().id == 4


# ---- constraints


def test_no_candidate_breaks_a_limit_on_known_costs() -> None:
    optimizer = plain(bits_space(6), GOALS, {"size_kb": "<= 20"}, size_only, seed=3)
    for _ in range(100):
        candidate = optimizer.ask()
        assert candidate.costs == size_only(candidate.params)
        assert candidate.costs["size_kb"] <= 20
        optimizer.tell(candidate.id, truth(candidate.params))


def test_a_limit_that_one_in_a_million_keeps_is_kept() -> None:
    space = bits_space(12)  # smallest possible: 78 * 0.25 * 2 = 39
    optimizer = plain(space, GOALS, {"size_kb": "<= 50"}, size_only)
    asked = {repr(optimizer.ask().params) for _ in range(30)}
    assert len(asked) == 30


@pytest.mark.parametrize("layers", [2, 12])
def test_a_limit_that_nothing_can_keep_is_said_with_the_closest_value(layers: int) -> None:
    least = sum(range(1, layers + 1)) * 0.25 * 2
    optimizer = plain(bits_space(layers), GOALS, {"size_kb": "<= 1"}, size_only)
    with pytest.raises(
        UnsatisfiableConstraint, match=rf"'size_kb <= 1' \(closest: size_kb={least:g}\)"
    ):
        optimizer.ask()


def test_expensive_constraints_rank_infeasible_results_last() -> None:
    optimizer = plain(bits_space(), GOALS, {"accuracy": ">= 0.75"}, seed=1)
    run(optimizer, 120)
    assert optimizer.front()
    assert all(e.metrics is not None and e.metrics["accuracy"] >= 0.75 for e in optimizer.front())
    late = optimizer.evaluations[-40:]
    feasible = sum(e.metrics is not None and e.metrics["accuracy"] >= 0.75 for e in late)
    assert feasible > 20


def test_all_infeasible_goes_on() -> None:
    optimizer = plain(bits_space(), GOALS, {"accuracy": ">= 2"}, seed=1)
    run(optimizer, 60)
    assert optimizer.front() == []
    assert optimizer.hypervolume({"accuracy": 0, "size_kb": 100}) == 0


# ---- telling


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.9", None])
def test_a_bad_metric_is_refused_and_the_candidate_stays_out(value: object) -> None:
    optimizer = plain(bits_space(), GOALS)
    candidate = optimizer.ask()
    with pytest.raises(ValueError, match="accuracy"):
        optimizer.tell(candidate.id, {"accuracy": value, "size_kb": 1})
    assert [c.id for c in optimizer.pending] == [candidate.id]
    optimizer.fail(candidate.id, "bad metric")
    assert optimizer.evaluations[0].reason == "bad metric"


def test_unknown_and_repeated_ids_are_refused() -> None:
    optimizer = plain(bits_space(), GOALS)
    with pytest.raises(KeyError, match="candidate 99 was never asked for"):
        optimizer.tell(99, {"accuracy": 1, "size_kb": 1})
    candidate = optimizer.ask()
    optimizer.tell(candidate.id, truth(candidate.params))
    with pytest.raises(ValueError, match="already told"):
        optimizer.tell(candidate.id, truth(candidate.params))
    with pytest.raises(ValueError, match="expected a dict"):
        optimizer.tell(candidate.id, 0.9)  # type: ignore[arg-type]


def test_a_result_that_comes_after_the_failure_counts() -> None:
    optimizer = plain(bits_space(), GOALS)
    candidate = optimizer.ask()
    optimizer.fail(candidate.id, "ended without a result")
    optimizer.tell(candidate.id, truth(candidate.params))
    assert [e.status for e in optimizer.evaluations] == ["complete"]


def test_a_censored_result_is_never_on_the_front() -> None:
    optimizer = plain(bits_space(), GOALS)
    candidate = optimizer.ask()
    optimizer.censor(candidate.id, {"accuracy": 1.0, "size_kb": 0.0})
    assert optimizer.front() == []
    assert optimizer.evaluations[0].metrics == {"accuracy": 1.0, "size_kb": 0.0}


def test_what_a_stopped_trial_was_expected_to_reach_only_teaches() -> None:
    def search() -> Optimizer:
        optimizer = Optimizer(bits_space(), GOALS, costs=size_only, seed=1, surrogate="gp")
        run(optimizer, 14)
        return optimizer

    taught, told = search(), search()
    stopped = taught.ask()
    best = {"accuracy": 1.0, **size_only(stopped.params)}
    taught.censor(stopped.id, {"accuracy": 0.1}, "hopeless", {"accuracy": 1.0})
    told.censor(told.ask().id, {"accuracy": 0.1}, "hopeless")
    assert stopped.id not in {e.id for e in taught.front()}
    log = taught.evaluations
    assert (log[-1].status, log[-1].expected) == ("censored", best)
    after = [taught.ask() for _ in range(3)]
    assert [c.params for c in after] != [told.ask().params for _ in range(3)]
    again = Optimizer.replay(bits_space(), GOALS, log, costs=size_only, seed=1, surrogate="gp")
    assert [again.ask().params for _ in range(3)] == [c.params for c in after]
    with pytest.raises(ValueError, match="accuracy"):
        again.censor(after[0].id, {}, "", {"error": 0.1})
    assert after[0].id in {c.id for c in again.pending}


def test_a_result_replaces_what_was_expected() -> None:
    late = Optimizer(bits_space(), GOALS, costs=size_only, seed=1, surrogate="gp")
    run(late, 14)
    stopped = late.ask()
    late.censor(stopped.id, {}, "", {"accuracy": 1.0})
    late.ask()  # fits the surrogate to what is expected
    late.tell(stopped.id, {"accuracy": 0.3, **size_only(stopped.params)})
    log = [*late.evaluations, *(Evaluation(c.id, c.params, None, "running") for c in late.pending)]
    again = Optimizer.replay(bits_space(), GOALS, log, costs=size_only, seed=1, surrogate="gp")
    assert late.ask().params == again.ask().params


def test_injected_results_breed_and_are_not_asked_again() -> None:
    space = SearchSpace([Integer("i", 0, 9)])
    optimizer = plain(space, {"m": "minimize"})
    for i in range(8):
        optimizer.inject({"i": i}, {"m": i})
    assert {optimizer.ask().params["i"] for _ in range(2)} == {8, 9}
    with pytest.raises(SpaceExhausted):
        optimizer.ask()
    with pytest.raises(ValueError, match="i=99"):
        optimizer.inject({"i": 99}, {"m": 0})
    with pytest.raises(ValueError, match="'m' is missing"):
        optimizer.inject({"i": 9}, {})


def test_duplicates_with_different_results_are_both_kept() -> None:
    optimizer = plain(SearchSpace([Integer("i", 0, 99)]), {"m": "minimize"})
    for m in (3.0, 1.0, 2.0):
        optimizer.inject({"i": 5}, {"m": m})
    optimizer.inject({"i": 7}, {"m": 9.0})
    assert len(optimizer.evaluations) == 4
    assert optimizer.ask().params not in ({"i": 5}, {"i": 7})


def test_constant_objectives_and_wild_scales_go_on() -> None:
    optimizer = plain(bits_space(), {"a": "minimize", "b": "maximize", "c": "minimize"})
    rng = random.Random(0)
    for _ in range(60):
        metrics = {"a": 1e-12 * rng.random(), "b": 1e15 * rng.random(), "c": 3.0}
        optimizer.tell(optimizer.ask().id, metrics)
    assert optimizer.front()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population_size": 1}, "population_size=1"),
        ({"population_size": 2.5}, "population_size=2.5"),
        ({"seed": "x"}, "seed='x'"),
        ({"seed": -1}, "seed=-1"),
        ({"budget": 0}, "budget=0"),
        ({"costs": "size"}, "costs='size' should be callable"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optimizer(bits_space(), GOALS, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"should be a ga\.SearchSpace"):
        Optimizer({"a": 1}, GOALS)  # type: ignore[arg-type]


def test_population_follows_the_budget() -> None:
    sizes = [
        Optimizer(bits_space(), GOALS, population_size=None, budget=b).population_size
        for b in (None, 50, 400, 10_000)
    ]
    assert sizes == [20, 8, 20, 100]


def test_ask_and_tell_are_quick() -> None:
    space = SearchSpace([Real(f"g{i}", 0, 1) for i in range(200)])
    optimizer, rng = plain(space, {"a": "minimize", "b": "minimize"}), random.Random(0)
    times = []
    for _ in range(300):
        begin = time.process_time()
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, {"a": rng.random(), "b": rng.random()})
        times.append(time.process_time() - begin)
    assert median(times) < 0.02


def test_attributes_that_went_say_what_takes_their_place() -> None:
    optimizer = plain(bits_space(), GOALS)
    for name, instead in (("notes", "messages"), ("importances", "the page of `joint-ga watch`")):
        with pytest.raises(AttributeError, match=rf"Optimizer\.{name} went: .*{instead}"):
            getattr(optimizer, name)
    with pytest.raises(AttributeError, match="no attribute 'median'"):
        optimizer.median  # type: ignore[attr-defined]  # noqa: B018 - that it raises is the point
