"""The trial log, and the front and hypervolume built from it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nni_plugin.results.pareto_front import Bounds, FrontHistory, knee
from nni_plugin.study.trial_log import Trial, TrialLog, is_uniform_int8


def make(uid, **metrics):
    return Trial(uid, {}, "complete", metrics, finished=float(uid))


def test_reads_what_was_asked_and_answered(write):
    log = TrialLog(write() / "checkpoint" / "journal.jsonl")
    finished = log.refresh()
    assert [t.uid for t in finished] == [1, 2, 3, 4, 5, 6]
    assert log.counts() == {"complete": 5, "failed": 1, "censored": 0, "running": 0}
    assert log.trials[6].reason == "exit code 1"
    # `default` only repeats accuracy; uid and baseline_ aren't the trial's.
    assert log.metric_names() == ["accuracy", "size_kb", "ram_kb"]
    assert log.baseline() == {"accuracy": 0.97}
    assert log.uniform_int8().uid == 1
    assert log.refresh() == []


def test_follows_a_growing_file_and_leaves_half_a_line(write):
    path = write() / "checkpoint" / "journal.jsonl"
    text = path.read_bytes()
    path.write_bytes(text[: len(text) - 40])
    log = TrialLog(path)
    assert len(log.refresh()) == 5
    path.write_bytes(text)
    assert [t.uid for t in log.refresh()] == [6]


@pytest.mark.parametrize("at_once", [1, 150, 400])
def test_a_file_read_in_pieces_is_the_same(write, monkeypatch, at_once):
    path = write() / "checkpoint" / "journal.jsonl"
    whole = TrialLog.read(path)
    monkeypatch.setattr("nni_plugin.study.trial_log._AT_ONCE", at_once)
    text = path.read_bytes()
    log = TrialLog(path)
    for length in (len(text) // 2, len(text) - 3, len(text)):
        path.write_bytes(text[:length])
        log.refresh()
    assert log.trials == whole.trials
    assert [t.uid for t in log.finished()] == [t.uid for t in whole.finished()]


def test_a_line_cut_by_a_kill_is_skipped(write):
    path = write() / "checkpoint" / "journal.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = lines[4][:20]
    path.write_text("\n".join(lines) + "\n")
    log = TrialLog(path)
    log.refresh()
    assert log.counts()["complete"] == 4
    assert log.refresh() == []


def test_a_result_after_a_failure_counts_and_a_second_one_does_not(write, events):
    late = {"event": "tell", "uid": 6, "metrics": {"accuracy": 0.5}, "time": 1080.0}
    again = {"event": "tell", "uid": 6, "metrics": {"accuracy": 0.9}, "time": 1090.0}
    log = TrialLog(write([*events, late, again]) / "checkpoint" / "journal.jsonl")
    log.refresh()
    assert log.trials[6].status == "complete"
    assert log.trials[6].metrics == {"accuracy": 0.5}


def test_a_stopped_chromosome_that_runs_again_is_running_until_it_ends(write, events):
    ask = {"event": "ask", "uid": 7, "params": {}, "costs": None, "origin": "ga", "time": 1080.0}
    stop = {"event": "censor", "uid": 7, "metrics": {"accuracy": 0.1}, "rung": 1, "time": 1081.0}
    again = {"event": "again", "uid": 7, "time": 1082.0}
    tell = {"event": "tell", "uid": 7, "metrics": {"accuracy": 0.5}, "time": 1083.0}
    path = write([*events, ask, stop, again]) / "checkpoint" / "journal.jsonl"
    log = TrialLog(path)
    log.refresh()
    assert (log.trials[7].status, log.counts()["running"]) == ("running", 1)
    log = TrialLog(write([*events, ask, stop, again, tell]) / "checkpoint" / "journal.jsonl")
    log.refresh()
    assert (log.trials[7].status, log.trials[7].metrics) == ("complete", {"accuracy": 0.5})


def test_metrics_that_are_no_finite_numbers_are_dropped(write, events):
    odd = {"accuracy": 0.5, "size_kb": float("nan"), "note": "x", "list": [1], "ok": True}
    log = TrialLog(
        write([*events, {"event": "tell", "uid": 6, "metrics": odd, "time": 1.0}])
        / "checkpoint"
        / "journal.jsonl"
    )
    log.refresh()
    assert log.trials[6].metrics == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"a.prune": 0, "a.w_bits": 8, "a.a_bits": 8}, True),
        ({"a.prune": 0.125, "a.w_bits": 8}, False),
        ({"a.w_bits": 8, "b.w_bits": 4}, False),
        ({"a.prune": 0}, False),
        ({"lr": 8}, False),
    ],
)
def test_uniform_int8(params, expected):
    assert is_uniform_int8(params) is expected


GOALS = {"a": "minimize", "b": "minimize"}


def test_front_and_hypervolume_of_known_points():
    history = FrontHistory(GOALS, settled_after=3)
    history.extend([make(1, a=0.0, b=2.0), make(2, a=2.0, b=0.0), make(3, a=1.0, b=1.0)])
    assert history.front == [1, 2, 3]
    # Scaled: (0,1), (1,0), (.5,.5) in a box up to 1.1: area .11 + .11 + .35 - overlaps = .46.
    area = 1.1 * 0.1 + 1.1 * 0.1 - 0.1 * 0.1 + (0.6 * 0.6 - 2 * 0.1 * 0.6 + 0.1 * 0.1)
    assert history.hypervolume == pytest.approx(area / 1.21)


def test_the_order_of_trials_does_not_change_the_last_value():
    rng = random.Random(0)
    trials = [make(i, a=rng.random(), b=rng.random()) for i in range(200)]
    whole = FrontHistory(GOALS, settled_after=200)
    whole.extend(trials)
    rng.shuffle(trials)
    shuffled = FrontHistory(GOALS, settled_after=200)
    for trial in trials:
        shuffled.extend([trial])
    assert set(whole.front) == set(shuffled.front)
    assert whole.hypervolume == pytest.approx(shuffled.hypervolume)
    values = [volume for _, volume in shuffled.steps]
    assert values == sorted(values)


def test_front_equals_brute_force_on_three_objectives():
    rng = np.random.default_rng(1)
    points = rng.random((150, 3))
    goals = {"a": "maximize", "b": "minimize", "c": "minimize"}
    history = FrontHistory(goals)
    history.extend([make(i, a=p[0], b=p[1], c=p[2]) for i, p in enumerate(points)])
    losses = points * [-1, 1, 1]
    expected = {
        i for i, p in enumerate(losses) if not any((q <= p).all() and (q < p).any() for q in losses)
    }
    assert set(history.front) == expected


def test_infeasible_and_incomplete_trials_stay_off_the_front():
    history = FrontHistory(GOALS, {"ram": "<= 10"})
    failed = make(4, a=0.0, b=0.0, ram=1.0)
    failed.status = "failed"
    history.extend([make(1, a=1.0, b=1.0, ram=5.0), make(2, a=0.0, b=0.0, ram=11.0), failed])
    history.extend([make(3, a=0.0, b=0.0), make(5, b=1.0, ram=1.0)])
    assert history.front == [1]
    assert history.without_objectives == 1


def test_equal_points_appear_once_and_a_constant_objective_is_allowed():
    history = FrontHistory(GOALS, settled_after=3)
    history.extend([make(1, a=1.0, b=3.0), make(2, a=1.0, b=3.0), make(3, a=0.5, b=3.0)])
    assert history.front == [3]
    assert 0 < history.hypervolume <= 1


def test_knee_is_nearest_to_the_ideal_corner():
    trials = [make(1, a=0.0, b=1.0), make(2, a=0.2, b=0.2), make(3, a=1.0, b=0.0)]
    assert knee(trials, GOALS).uid == 2
    with pytest.raises(ValueError, match="front is empty"):
        knee([], GOALS)


def test_fixed_bounds_make_runs_comparable():
    bounds = Bounds(np.array([0.0, 0.0]), np.array([1.0, 1.0]))
    better, worse = (FrontHistory(GOALS, None, bounds) for _ in range(2))
    better.extend([make(1, a=0.1, b=0.1)])
    worse.extend([make(1, a=0.5, b=0.5)])
    assert better.hypervolume > worse.hypervolume > 0


def test_a_number_too_large_for_a_float_is_no_metric_and_no_time(tmp_path):
    journal = tmp_path / "journal.jsonl"
    huge = "1" + "0" * 400
    journal.write_text(
        '{"event": "ask", "uid": 1, "params": {"a": 1}, "time": ' + huge + "}\n"
        '{"event": "tell", "uid": 1, "metrics": {"size_kb": 3, "macs": ' + huge + "}}\n"
    )
    (trial,) = TrialLog.read(journal).finished("complete")
    assert (trial.metrics, trial.asked) == ({"size_kb": 3}, None)
