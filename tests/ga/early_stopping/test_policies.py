"""Policies on scripted learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

import ga
from ga.early_stopping.decision import StopDecision
from ga.early_stopping.learning_curves import LearningCurve
from ga.early_stopping.policy import SearchState
from ga.early_stopping.reservation_value import ReservationValue, reservation_rate
from ga.early_stopping.successive_halving import SuccessiveHalving, selected

OBJECTIVES = ga.Objectives.parse({"accuracy": "maximize", "size": "minimize"})


def curve(final: float, size: float, gains: list[float]) -> list[dict[str, float]]:
    """Reports of a trial that ends at ``final`` and still gains so much from each rung."""
    return [{"accuracy": final - gain, "size": size} for gain in gains]


def state(curves: Mapping[int, LearningCurve], finals: set[int]) -> SearchState:
    ends = {uid: curves[uid][-1] for uid in curves if uid in finals}
    losses = np.array([OBJECTIVES.losses(m) for m in ends.values()])
    mask = ga.nondominated(losses) if len(losses) else []
    front = [m for m, good in zip(ends.values(), mask, strict=True) if good]
    return SearchState(OBJECTIVES, curves, ends, front)


def whole(count: int, seed: int = 0) -> dict[int, list[dict[str, float]]]:
    rng = np.random.default_rng(seed)
    curves = {}
    for uid in range(count):
        first, second = sorted(rng.uniform(0, 0.2, 2), reverse=True)
        curves[uid] = curve(float(rng.uniform(0.7, 0.9)), float(uid % 10), [first, second, 0.0])
    return curves


def test_halving_lets_the_best_part_go_on() -> None:
    policy = SuccessiveHalving(eta=3, first=1)
    curves = {uid: [{"accuracy": uid / 10, "size": 1.0}] for uid in range(9)}
    look = state(curves, set())
    assert [uid for uid in curves if policy.decide(uid, look) is None] == [6, 7, 8]
    decision = policy.decide(0, look)
    assert decision is not None
    assert decision.reason == "not among the best 3 of 9 at rung 1"
    assert (decision.metrics, decision.rung) == ({"accuracy": 0.0, "size": 1.0}, 1)
    assert decision.expected is None, "nothing is forecast"


def test_halving_says_what_a_trial_would_have_come_to() -> None:
    look = promising({10: 0.1, 11: 0.2})
    curves = {**look.curves, 10: [{"accuracy": 0.1, "size": 9.0}]}
    decision = SuccessiveHalving(eta=2).decide(10, replace(look, curves=curves))
    assert decision is not None
    assert decision.expected == {"accuracy": 0.6, "size": 5.0}


def test_halving_waits_for_eta_trials_and_decides_at_its_rungs_only() -> None:
    policy = SuccessiveHalving(eta=2, first=1)
    bad, good = {"accuracy": 0.1, "size": 2.0}, {"accuracy": 0.9, "size": 1.0}
    assert policy.decide(0, state({0: [bad]}, set())) is None
    for rungs, decides in ((1, True), (2, True), (3, False), (4, True), (5, False), (8, True)):
        look = state({0: [bad] * rungs, 1: [good] * rungs, 2: [good] * 9}, set())
        assert (policy.decide(0, look) is not None) is decides, rungs


def test_halving_leaves_a_trial_alone_that_is_through() -> None:
    policy = SuccessiveHalving(eta=2, first=1)
    curves = {uid: [{"accuracy": uid / 10, "size": 1.0}] * 2 for uid in range(6)}
    assert policy.decide(0, state(curves, set())) is not None
    assert policy.decide(0, state(curves, {4, 5})) is None, "whole trials have two reports"


def test_halving_keeps_both_ends_of_a_front() -> None:
    policy = SuccessiveHalving(eta=2)
    curves = {uid: [{"accuracy": uid / 10, "size": float(uid)}] for uid in range(6)}
    kept = [uid for uid in curves if policy.decide(uid, state(curves, set())) is None]
    assert {0, 5} <= set(kept)
    assert len(kept) == 3


def test_selection_is_by_front_then_by_crowding() -> None:
    losses = [(0.0, 4.0), (1.0, 3.0), (1.1, 2.9), (4.0, 0.0), (3.0, 3.0), (5.0, 5.0)]
    assert set(selected(losses, 2)) == {0, 3}, "the ends of the front"
    assert set(selected(losses, 4)) == {0, 1, 2, 3}
    assert set(selected(losses, 5)) == {0, 1, 2, 3, 4}


def test_selection_is_the_same_among_many() -> None:
    """DEAP sorts more than a hundred by another algorithm."""
    losses = [(float(i), 200.0 - i) for i in range(101)] + [(300.0 + i, 300.0) for i in range(20)]
    assert sorted(selected(losses, 101)) == list(range(101))
    assert sorted(selected([(first,) for first, _ in losses], 3)) == [0, 1, 2]


def test_halving_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="eta=1"):
        SuccessiveHalving(eta=1)
    with pytest.raises(ValueError, match="first=0"):
        SuccessiveHalving(first=0)


def promising(
    gains: dict[int, float], elapsed: dict[int, list[float]] | None = None
) -> SearchState:
    """Three whole trials, and outlooks on others, which have reported once."""
    curves = whole(3)
    curves.update({uid: [{"accuracy": 0.5, "size": 5.0}] for uid in gains})
    ends = {uid: curves[uid][-1] for uid in range(3)}

    def outlooks(uids: Sequence[int]) -> dict[int, ga.Outlook]:
        return {
            uid: ga.Outlook({"accuracy": 0.6, "size": 5.0}, gains[uid])
            for uid in uids
            if uid in gains
        }

    return SearchState(OBJECTIVES, curves, ends, list(ends.values()), elapsed or {}, outlooks)


def test_the_rate_that_pays_falls_with_the_price_of_a_look() -> None:
    gains = np.random.default_rng(0).exponential(size=1000)
    rates = [reservation_rate(gains, look) for look in (0.0, 0.02, 0.1, 0.5, 0.9, 1.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == rates[1]
    assert rates[-1] == pytest.approx(gains.mean())
    for look in (0.1, 0.5, 0.9):  # Weitzman's condition
        rate = reservation_rate(gains, look)
        assert np.maximum(0, gains - rate * (1 - look)).mean() == pytest.approx(rate * look)


def test_where_a_look_tells_nothing_apart_all_trials_go_on() -> None:
    assert reservation_rate([0.3] * 8, 0.1) == pytest.approx(0.3)
    policy = ReservationValue()
    look = promising(dict.fromkeys(range(10, 18), 0.3))
    assert [policy.decide(uid, look) for uid in range(10, 18)] == [None] * 8


def test_a_promise_has_to_pay_for_the_time_that_is_left() -> None:
    # The first report comes after half of a trial's time.
    elapsed = {uid: [50.0, 80.0, 100.0] for uid in range(3)}
    gains = {10: 1.0, 11: 0.1, 12: 0.3, 13: 0.2}
    look = promising(gains, elapsed)
    policy = ReservationValue()
    assert [policy.decide(uid, look) for uid in (10, 11, 12)] == [None] * 3, "too few were seen"
    assert policy.reopen([11, 12], look, new=True) is None
    rate = reservation_rate(list(gains.values()), 0.5)
    assert rate == pytest.approx(1.3 / (4 * 0.5 + 2 * 0.5)), "the best two of four go on"
    assert policy.decide(10, look) is None
    decision = policy.decide(13, look)
    assert decision == StopDecision(
        {"accuracy": 0.5, "size": 5.0},
        1,
        "for 50% of a trial it promises 46% of what pays for a whole one",
        {"accuracy": 0.6, "size": 5.0},
    )
    assert policy.decide(14, _with_curve(look, 14)) is None, "nothing is known of it"


def test_no_reservation_value_stops_a_trial_without_a_front_or_at_its_end() -> None:
    gains = {10: 1.0, 11: 1.0, 12: 1.0, 13: 0.0}
    look, policy = promising(gains), ReservationValue()
    assert policy.decide(13, replace(look, front=())) is None, "and this is no look"
    assert [policy.decide(uid, look) for uid in (10, 11, 12)] == [None] * 3
    assert policy.decide(13, look) is not None
    curves = {**look.curves, 13: [*look.curves[13]] * 3}
    assert policy.decide(13, replace(look, curves=curves)) is None


def test_what_was_stopped_runs_again_once_it_pays_for_a_whole_trial() -> None:
    elapsed = {uid: [50.0, 80.0, 100.0] for uid in range(3)}
    gains = {10: 1.0, 11: 0.1, 12: 0.2, 13: 0.3}
    policy = ReservationValue()
    for uid in gains:
        policy.decide(uid, promising(gains, elapsed))
    rate = reservation_rate(list(gains.values()), 0.5)
    for share, expected in ((0.9, None), (1.1, 12)):
        later = promising({11: 0.1, 12: share * rate}, elapsed)
        assert policy.reopen([11, 12], later, new=True) == expected
    assert policy.reopen([11, 12], promising(gains), new=False) == 12
    assert policy.reopen([10], promising({10: 0.0}), new=False) is None


def _with_curve(look: SearchState, uid: int) -> SearchState:
    return replace(look, curves={**look.curves, uid: [{"accuracy": 0.5, "size": 5.0}]})


def test_nothing_is_stopped_or_run_again_while_nothing_is_forecast() -> None:
    look = promising({})
    look = _with_curve(look, 12)
    assert ReservationValue().decide(12, look) is None
    assert ReservationValue().reopen([12], look, new=False) is None
    assert ReservationValue().reopen([], look, new=False) is None


def test_what_is_left_of_a_trial_goes_by_time_or_else_by_reports() -> None:
    look = promising({})
    assert look.left(1) == pytest.approx(2 / 3)
    assert look.left(3) == 0.0
    times = {uid: [1.0, 2.0, 10.0] for uid in range(3)}
    assert promising({}, times).left(1) == pytest.approx(0.9)
    assert promising({}, {0: [4.0]}).left(1) == pytest.approx(2 / 3), "no whole trial was timed"
