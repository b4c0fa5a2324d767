"""The hypervolume that people see: one scale from its first appearance on, and it never falls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_plugin.results.live_page import PageData
from nni_plugin.results.pareto_front import SETTLED_AFTER, Bounds, FrontHistory
from nni_plugin.study.trial_log import Trial, TrialLog

GOALS = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
LIMITS = {"ram_kb": "<= 64"}

values = st.integers(-(10**6), 10**6).map(lambda number: number / 100)
results = st.lists(
    st.fixed_dictionaries(
        {"accuracy": st.floats(0, 1), "size_kb": values, "latency_ms": values, "ram_kb": values}
    ),
    min_size=1,
    max_size=40,
)


def trials_of(metrics: list[dict[str, float]]) -> list[Trial]:
    return [Trial(uid, {}, "complete", dict(each)) for uid, each in enumerate(metrics, 1)]


@given(results)
def test_it_never_falls_and_what_was_shown_stays(metrics: list[dict[str, float]]) -> None:
    history = FrontHistory(GOALS, LIMITS)
    shown: list[float] = []
    for number, trial in enumerate(trials_of(metrics), 1):
        history.extend([trial])
        assert history.is_settled == (number >= SETTLED_AFTER)
        if history.is_settled:
            shown.append(history.hypervolume)
            # The curve drawn now holds every value that was shown before.
            curve = dict(history.steps)
            last = max((n for n in curve if n <= number), default=0)
            assert shown[-1] == curve.get(last, 0.0)
    assert all(a <= b for a, b in itertools.pairwise(shown))
    at_once = FrontHistory(GOALS, LIMITS)
    at_once.extend(trials_of(metrics))
    assert (at_once.front, at_once.steps) == (history.front, history.steps)


@given(results, st.integers(1, 40))
def test_it_equals_a_box_that_was_known_before(metrics: list[dict[str, float]], cut: int) -> None:
    """Whenever the box is known, the numbers are those of a history that always knew it."""
    trials = trials_of(metrics)
    history = FrontHistory(GOALS, LIMITS, settled_after=min(cut, len(trials)))
    history.extend(trials)
    judge = FrontHistory(GOALS, LIMITS)
    first = [judge.losses(trial) for trial in trials[: min(cut, len(trials))]]
    fixed = FrontHistory(GOALS, LIMITS, Bounds.of(np.array(first)))
    fixed.extend(trials)
    assert history.steps == fixed.steps


def test_better_than_the_first_results_is_more_than_one_box() -> None:
    goals = {"a": "minimize", "b": "minimize"}
    history = FrontHistory(goals, settled_after=2)
    history.extend(trials_of([{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0}, {"a": 0.0, "b": 0.0}]))
    # Scaled, the last one lies at (-1, -1) of a box up to 1.1.
    assert history.hypervolume == pytest.approx(2.1**2 / 1.1**2)


def test_the_page_shows_the_same_numbers(write, events) -> None:
    more = []
    for uid in range(7, 30):
        metrics = {"accuracy": 0.8 + uid / 200, "size_kb": 40.0 - uid, "ram_kb": 50.0}
        more.append({"event": "ask", "uid": uid, "params": {}, "time": 1100.0 + uid})
        more.append({"event": "tell", "uid": uid, "metrics": metrics, "time": 1100.5 + uid})
    seen: list[float] = []
    for stop in range(0, len(more) + 1, 2):
        journal = write([*events, *more[:stop]]) / "checkpoint" / "journal.jsonl"
        data = PageData(TrialLog(journal))
        data.refresh()
        rows = data.state()["hypervolume"]
        complete = data.state()["counts"]["complete"]
        assert bool(rows) == (complete >= SETTLED_AFTER)
        seen += [rows[-1][2]] if rows else []
        history = FrontHistory(data.log.objectives, data.log.constraints)
        history.extend(data.log.finished())
        assert [row[2] for row in rows[:-1]] == [round(v, 6) for _, v in history.steps][
            : len(rows) - 1
        ]
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
