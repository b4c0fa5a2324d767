from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import ga
from ga.early_stopping.gain_bands import Band, Seen
from ga.early_stopping.policies import GainBound, Halving, Promise, paying_rate, ranked

OBJECTIVES = ga.Objectives.parse({"accuracy": "maximize", "size": "minimize"})


def path(final: float, size: float, gains: list[float]) -> list[dict[str, float]]:
    """Reports of a trial that ends at ``final`` and still gains so much from each rung."""
    return [{"accuracy": final - gain, "size": size} for gain in gains]


def seen(paths: dict[int, list[dict[str, float]]], finals: set[int], **changes: object) -> Seen:
    ends = {uid: paths[uid][-1] for uid in paths if uid in finals}
    losses = np.array([OBJECTIVES.losses(m) for m in ends.values()])
    mask = ga.nondominated(losses) if len(losses) else []
    front = [m for m, good in zip(ends.values(), mask, strict=True) if good]
    return Seen(OBJECTIVES, changes.get("constraints", ()), paths, ends, front)  # type: ignore[arg-type]


def whole(count: int, seed: int = 0) -> dict[int, list[dict[str, float]]]:
    rng = np.random.default_rng(seed)
    paths = {}
    for uid in range(count):
        first, second = sorted(rng.uniform(0, 0.2, 2), reverse=True)
        paths[uid] = path(float(rng.uniform(0.7, 0.9)), float(uid % 10), [first, second, 0.0])
    return paths


def test_a_hopeless_trial_is_stopped_and_a_hopeful_one_is_not() -> None:
    paths = whole(30)
    everything = set(paths)
    paths[100] = [{"accuracy": 0.2, "size": 5.0}]
    paths[101] = [{"accuracy": 0.75, "size": 0.0}]
    paths[102] = [{"accuracy": 0.2, "size": -1.0}]
    look = seen(paths, everything)
    policy = GainBound(risk=0.1)
    reason = policy.reason(100, look)
    assert reason is not None
    assert "accuracy" in reason
    assert policy.reason(101, look) is None
    assert policy.reason(102, look) is None, "smaller than all: on the front with any accuracy"


def test_nothing_is_stopped_before_the_risk_can_be_bounded() -> None:
    for count, decides in ((8, False), (9, True)):
        paths = whole(count)
        paths[100] = [{"accuracy": -50.0, "size": 50.0}]
        look = seen(paths, set(range(count)))
        assert (GainBound(risk=0.1).reason(100, look) is not None) is decides


def test_nothing_is_stopped_without_a_front_or_at_the_last_rung() -> None:
    paths = whole(20)
    hopeless = {"accuracy": -50.0, "size": 50.0}
    paths[100] = [hopeless] * 3
    everything = set(range(20))
    look = seen(paths, everything)
    assert GainBound().reason(100, look) is None
    paths[100] = [hopeless]
    no_front = Seen(OBJECTIVES, (), paths, look.finals, ())
    assert GainBound().reason(100, no_front) is None


def test_a_limit_that_is_out_of_reach_stops_a_trial() -> None:
    paths = whole(20)
    everything = set(paths)
    paths[100] = [{"accuracy": 0.2, "size": -5.0}]
    limits = ga.parse_constraints({"accuracy": ">= 0.6"})
    reason = GainBound().reason(100, seen(paths, everything, constraints=limits))
    assert reason is not None
    assert "accuracy >= 0.6" in reason


def test_the_band_covers_new_trials_as_often_as_the_risk_says() -> None:
    left = 0
    runs = 400
    for run in range(runs):
        paths = whole(25, seed=run)
        new = paths.pop(24)
        band = Band.fit(seen(paths, set(paths)), risk=0.2)
        assert band is not None
        bests = [band.best(new[: rung + 1])["accuracy"] for rung in range(2)]
        left += any(best < new[-1]["accuracy"] - 1e-12 for best in bests)
    # Expected 0.2; the scale is estimated on the same trials, which costs a little.
    assert left / runs <= 0.25


def test_costs_have_no_room_to_improve() -> None:
    paths = whole(20)
    band = Band.fit(seen(paths, set(paths)), risk=0.1)
    assert band is not None
    assert band.lines.names == ("accuracy",)
    assert band.best(paths[0])["size"] == paths[0][0]["size"]


def test_trials_of_another_length_and_failed_ones_are_left_out_of_the_band() -> None:
    paths = whole(20)
    paths[50] = path(0.9, 1.0, [5.0])
    band = Band.fit(seen(paths, set(paths)), risk=0.1)
    assert band is not None
    assert band.lines.rungs == 3
    assert band.room.max() < 1.0


def test_halving_lets_the_best_part_go_on() -> None:
    policy = Halving(eta=3, first=1)
    paths = {uid: [{"accuracy": uid / 10, "size": 1.0}] for uid in range(9)}
    look = seen(paths, set())
    assert [uid for uid in paths if policy.reason(uid, look) is None] == [6, 7, 8]
    reason = policy.reason(0, look)
    assert reason is not None
    assert "9 of 9" in reason


def test_halving_waits_for_eta_trials_and_decides_at_its_rungs_only() -> None:
    policy = Halving(eta=2, first=1)
    bad, good = {"accuracy": 0.1, "size": 2.0}, {"accuracy": 0.9, "size": 1.0}
    assert policy.reason(0, seen({0: [bad]}, set())) is None
    for rungs, decides in ((1, True), (2, True), (3, False), (4, True), (5, False), (8, True)):
        look = seen({0: [bad] * rungs, 1: [good] * rungs, 2: [good] * 9}, set())
        assert (policy.reason(0, look) is not None) is decides, rungs


def test_halving_leaves_a_trial_alone_that_is_through() -> None:
    policy = Halving(eta=2, first=1)
    paths = {uid: [{"accuracy": uid / 10, "size": 1.0}] * 2 for uid in range(6)}
    assert policy.reason(0, seen(paths, set())) is not None
    assert policy.reason(0, seen(paths, {4, 5})) is None, "whole trials have two reports"


def test_halving_keeps_both_ends_of_a_front() -> None:
    policy = Halving(eta=2)
    paths = {uid: [{"accuracy": uid / 10, "size": float(uid)}] for uid in range(6)}
    kept = [uid for uid in paths if policy.reason(uid, seen(paths, set())) is None]
    assert {0, 5} <= set(kept)
    assert len(kept) == 3


def test_ranking_is_by_front_then_by_crowding() -> None:
    losses = np.array([[0, 4], [1, 3], [1.1, 2.9], [4, 0], [3, 3], [5, 5]], dtype=float)
    order = ranked(losses)
    assert set(order[:4]) == {0, 1, 2, 3}
    assert order[4:] == [4, 5]
    assert set(order[:2]) == {0, 3}


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0])
def test_a_risk_is_a_probability(wrong: float) -> None:
    with pytest.raises(ValueError, match="risk"):
        GainBound(risk=wrong)


def test_halving_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="eta=1"):
        Halving(eta=1)
    with pytest.raises(ValueError, match="first=0"):
        Halving(first=0)


def promising(gains: dict[int, float], elapsed: dict[int, list[float]] | None = None) -> Seen:
    """Three whole trials, and outlooks on others, which have reported once."""
    paths = whole(3)
    paths.update({uid: [{"accuracy": 0.5, "size": 5.0}] for uid in gains})
    ends = {uid: paths[uid][-1] for uid in range(3)}

    def outlooks(uids: Sequence[int]) -> dict[int, ga.Outlook]:
        return {
            uid: ga.Outlook({"accuracy": 0.6, "size": 5.0}, gains[uid])
            for uid in uids
            if uid in gains
        }

    return Seen(OBJECTIVES, (), paths, ends, list(ends.values()), elapsed or {}, outlooks)


def test_the_rate_that_pays_falls_with_the_price_of_a_look() -> None:
    gains = np.random.default_rng(0).exponential(size=1000)
    rates = [paying_rate(gains, look) for look in (0.0, 0.02, 0.1, 0.5, 0.9, 1.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == rates[1]
    assert rates[-1] == pytest.approx(gains.mean())
    for look in (0.1, 0.5, 0.9):  # Weitzman's condition
        rate = paying_rate(gains, look)
        assert np.maximum(0, gains - rate * (1 - look)).mean() == pytest.approx(rate * look)


def test_where_a_look_tells_nothing_apart_all_trials_go_on() -> None:
    assert paying_rate([0.3] * 8, 0.1) == pytest.approx(0.3)
    policy = Promise()
    look = promising(dict.fromkeys(range(10, 18), 0.3))
    assert [policy.reason(uid, look) for uid in range(10, 18)] == [None] * 8


def test_a_promise_has_to_pay_for_the_time_that_is_left() -> None:
    # The first report comes after half of a trial's time.
    elapsed = {uid: [50.0, 80.0, 100.0] for uid in range(3)}
    gains = {10: 1.0, 11: 0.1, 12: 0.3, 13: 0.2}
    look = promising(gains, elapsed)
    policy = Promise()
    assert [policy.reason(uid, look) for uid in (10, 11, 12)] == [None] * 3, "too few were seen"
    assert policy.again([11, 12], look, new=True) is None
    rate = paying_rate(list(gains.values()), 0.5)
    assert rate == pytest.approx(1.3 / (4 * 0.5 + 2 * 0.5)), "the best two of four go on"
    assert policy.reason(10, look) is None
    reason = policy.reason(13, look)
    assert reason == "for 50% of a trial it promises 46% of what pays for a whole one"
    assert policy.expected(11, look) == {"accuracy": 0.6, "size": 5.0}
    assert policy.reason(14, _with_path(look, 14)) is None, "nothing is known of it"


def test_what_was_stopped_runs_again_once_it_pays_for_a_whole_trial() -> None:
    elapsed = {uid: [50.0, 80.0, 100.0] for uid in range(3)}
    gains = {10: 1.0, 11: 0.1, 12: 0.2, 13: 0.3}
    policy = Promise()
    for uid in gains:
        policy.reason(uid, promising(gains, elapsed))
    rate = paying_rate(list(gains.values()), 0.5)
    for share, expected in ((0.9, None), (1.1, 12)):
        later = promising({11: 0.1, 12: share * rate}, elapsed)
        assert policy.again([11, 12], later, new=True) == expected
    assert policy.again([11, 12], promising(gains), new=False) == 12
    assert policy.again([10], promising({10: 0.0}), new=False) is None


def _with_path(look: Seen, uid: int) -> Seen:
    return replace(look, paths={**look.paths, uid: [{"accuracy": 0.5, "size": 5.0}]})


def test_nothing_is_stopped_or_run_again_while_nothing_is_forecast() -> None:
    look = promising({})
    look = _with_path(look, 12)
    assert Promise().reason(12, look) is None
    assert Promise().again([12], look, new=False) is None
    assert Promise().again([], look, new=False) is None
    assert Promise().expected(12, look) is None


def test_what_is_left_of_a_trial_goes_by_time_or_else_by_reports() -> None:
    look = promising({})
    assert look.left(1) == pytest.approx(2 / 3)
    assert look.left(3) == 0.0
    times = {uid: [1.0, 2.0, 10.0] for uid in range(3)}
    assert promising({}, times).left(1) == pytest.approx(0.9)
    assert promising({}, {0: [4.0]}).left(1) == pytest.approx(2 / 3), "no whole trial was timed"
