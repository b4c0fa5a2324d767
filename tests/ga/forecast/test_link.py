"""The link from cheap scores to finished networks, on networks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from ga.forecast.link import MINIMUM, Link, Score, Trained

REFERENCE = 0.98


class World:
    """Networks whose gap shrinks with training: final gap = cheap gap ** 0.8 * noise / 3.

    The noise is log-normal, a part of it the network's own and a part each training's.
    """

    def __init__(self, seed: int, own: float = 0.3, luck: float = 0.2) -> None:
        self.rng = np.random.default_rng(seed)
        self.own, self.luck = own, luck

    def networks(
        self, count: int, trainings: int = 1, gaps: tuple[float, float] = (0.01, 0.6)
    ) -> tuple[list[Trained], list[float]]:
        """Trained networks, and what each comes to on average (the median) over trainings."""
        found, truths = [], []
        for _ in range(count):
            gap = float(np.exp(self.rng.uniform(*np.log(gaps))))
            mean = gap**0.8 / 3 * np.exp(self.rng.normal(0, self.own))
            finals = REFERENCE - mean * np.exp(self.rng.normal(0, self.luck, trainings))
            score = Score((REFERENCE - gap,), 20 * (1 - gap))
            found.append(Trained(score, tuple(map(float, finals))))
            truths.append(REFERENCE - float(mean))
        return found, truths


def test_few_networks_bring_the_scores_near_and_intervals_hold_what_they_say() -> None:
    raw, told, inside, total = 0.0, 0.0, 0, 0
    for seed in range(40):
        world = World(seed)
        link = Link(world.networks(5)[0], reference=REFERENCE)
        others, _ = world.networks(20)
        for one, found in zip(others, link.expect([o.score for o in others]), strict=True):
            (final,) = one.finals
            raw += abs(one.score.values[0] - final)
            told += abs(found.value - final)
            inside += found.low <= final <= found.high
            total += 1
    assert told < 0.35 * raw
    assert 0.85 <= inside / total <= 0.99


def test_more_networks_narrow_the_interval() -> None:
    few, many = (
        Link(World(3).networks(count)[0], reference=REFERENCE).expect([Score((0.7,), 8.0)])[0]
        for count in (4, 40)
    )
    assert many.high - many.low < few.high - few.low


def test_an_interval_is_wider_where_more_is_missing() -> None:
    link = Link(World(1).networks(8)[0], reference=REFERENCE)
    low, high = link.expect([Score((0.5,), 10.0), Score((0.95,), 19.0)])
    assert low.high - low.low > 3 * (high.high - high.low)
    assert low.low < low.value < low.high


def test_where_less_is_better_it_is_the_mirror_image() -> None:
    trained, _ = World(2).networks(6)
    mirrored = [
        Trained(Score((-t.score.values[0],), t.score.size), tuple(-f for f in t.finals))
        for t in trained
    ]
    (up,) = Link(trained, reference=REFERENCE).expect([Score((0.8,), 9.0)])
    (down,) = Link(mirrored, maximize=False, reference=-REFERENCE).expect([Score((-0.8,), 9.0)])
    assert (down.value, down.low, down.high) == pytest.approx((-up.value, -up.high, -up.low))


def test_units_do_not_matter() -> None:
    trained, _ = World(4).networks(6)
    percent = [
        Trained(Score((100 * t.score.values[0],), t.score.size), tuple(100 * f for f in t.finals))
        for t in trained
    ]
    (share,) = Link(trained, reference=REFERENCE).expect([Score((0.8,), 9.0)])
    (hundreds,) = Link(percent, reference=100 * REFERENCE).expect([Score((80.0,), 9.0)])
    assert hundreds.value == pytest.approx(100 * share.value)
    assert hundreds.low == pytest.approx(100 * share.low)


def test_the_best_of_many_like_networks_is_drawn_towards_what_was_to_be_expected() -> None:
    best, means, posteriors = [], [], []
    for seed in range(60):
        world = World(seed, own=0.1, luck=0.5)
        trained, truths = world.networks(10, trainings=2, gaps=(0.2, 0.4))
        link = Link(trained, reference=REFERENCE)
        told = [link.of_trained(i).value for i in range(10)]
        winner = int(np.argmax([np.mean(one.finals) for one in trained]))
        best.append(max(trained[winner].finals) - truths[winner])
        means.append(float(np.mean(trained[winner].finals)) - truths[winner])
        posteriors.append(told[winner] - truths[winner])
    assert np.mean(best) > np.mean(means) > 0.02, "chosen for being lucky"
    assert abs(np.mean(posteriors)) < 0.75 * np.mean(means)


def test_a_network_that_failed_is_hardly_drawn_towards_what_was_expected() -> None:
    trained, _ = World(5).networks(8)
    failed = Trained(Score((0.9,), 8.0), (0.6,))
    good = Trained(Score((0.9,), 8.0), (0.93,))
    shares = []
    for one in (failed, good):
        link = Link([*trained, one], reference=REFERENCE)
        (expected,) = Link(trained, reference=REFERENCE).expect([one.score])
        (own,) = one.finals
        shares.append((link.of_trained(8).value - own) / (expected.value - own))
    assert 0 < shares[0] < 0.1
    assert shares[0] < 0.4 * shares[1]


def test_trainings_of_a_network_count_for_more_the_more_there_are() -> None:
    trained, _ = World(5).networks(6)
    widths = []
    for number in (1, 3, 9):
        mine = Trained(Score((0.6,), 8.0), (0.9,) * number)
        found = Link([*trained, mine], reference=REFERENCE).of_trained(6)
        widths.append(found.high - found.low)
        value = found.value
    assert widths == sorted(widths, reverse=True)
    assert value == pytest.approx(0.9, abs=0.01)


def test_a_few_networks_tell_of_themselves_alone() -> None:
    trained, _ = World(6).networks(2, trainings=3)
    link = Link(trained)
    assert not link.is_known
    found = link.of_trained(0)
    assert min(trained[0].finals) <= found.value <= max(trained[0].finals)
    assert found.low < found.value < found.high
    with pytest.raises(ValueError, match=f"2 networks make no link, {MINIMUM} would"):
        link.expect([Score((0.5,))])


def test_scores_that_are_missing_say_nothing() -> None:
    trained, _ = World(7).networks(6)
    two = [Trained(Score((t.score.values[0], t.score.values[0]), None), t.finals) for t in trained]
    link = Link(two, reference=REFERENCE)
    all_, some, none = link.expect([Score((0.8, 0.8)), Score((0.8, None)), Score((None, None))])
    assert all(np.isfinite([x.value, x.low, x.high]).all() for x in (all_, some, none))
    assert none.value != some.value


def test_equal_networks_and_no_gap_at_all_are_no_fault() -> None:
    same = [Trained(Score((1.0,), 5.0), (1.0,))] * 4
    (found,) = Link(same, reference=1.0).expect([Score((1.0,), 5.0)])
    assert found.value == pytest.approx(1.0, abs=0.01)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="trained to their ends"):
        Link([])
