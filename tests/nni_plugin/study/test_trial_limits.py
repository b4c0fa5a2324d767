from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nni_plugin.protocol.limits import Limits
from nni_plugin.study.trial_limits import TrialLimits, duration_s
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.tuner_args import TunerArgs


def log_of(folder: Path, *spans: float) -> TrialLog:
    """A log of trials that took so long; a negative one: the clock was set back."""
    log = TrialLog(folder / "journal.jsonl")
    log.apply({"event": "start", "objectives": {"a": "maximize"}, "time": 1000.0})
    for uid, span in enumerate(spans, 1):
        log.apply({"event": "ask", "uid": uid, "params": {"x": uid}, "time": 1000.0})
        log.apply({"event": "tell", "uid": uid, "metrics": {"a": 1.0}, "time": 1000.0 + span})
    return log


def in_force(log: TrialLog, given: object = None, **config: Any) -> Limits:
    return TrialLimits.parse(given).in_force(config, log)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (600, ["trial_limits=600", "mapping"]),
        ({"second": 600}, ["'second'", "did you mean 'seconds'", "memory_mb"]),
        ({"memory": 600}, ["'memory'", "did you mean 'memory_mb'"]),
        ({"seconds": 0}, ["seconds=0", "positive"]),
        ({"seconds": "10m"}, ["seconds='10m'", "positive number"]),
        ({"memory_mb": float("nan")}, ["memory_mb=nan"]),
        ({"memory_mb": True}, ["memory_mb=True"]),
        ({"memory_mb": 10**400}, ["memory_mb=1000"]),
    ],
)
def test_wrong_limits_are_refused(given: object, words: list[str]) -> None:
    with pytest.raises(ValueError, match="trial_limits") as raised:
        TunerArgs.parse({"trial_limits": given})
    for word in words:
        assert word in str(raised.value)


def test_a_mistyped_class_argument_is_asked_about() -> None:
    with pytest.raises(TypeError, match=r"trial_limit \(did you mean 'trial_limits'\?\)"):
        TunerArgs.parse({"trial_limit": {"seconds": 5}})


def test_what_is_given_holds(tmp_path: Path) -> None:
    log = log_of(tmp_path, *[1.0] * 9)
    limits = in_force(log, {"seconds": 60, "memory_mb": 500})
    assert (limits.seconds, limits.seconds_from) == (60, "trial_limits.seconds")
    assert (limits.memory_on(8000), limits.memory_from) == (500, "trial_limits.memory_mb")
    limits = in_force(log, {"seconds": "none", "memory_mb": "none"})
    assert limits.seconds is None
    assert limits.memory_on(8000) is None


@pytest.mark.parametrize(
    ("given", "nni", "expected"),
    [
        (None, "25s", (25, "maxTrialDuration")),
        ({"seconds": 60}, 25, (25, "maxTrialDuration")),
        ({"seconds": 60}, "2m", (60, "trial_limits.seconds")),
        ({"seconds": "none"}, "1h", (3600, "maxTrialDuration")),
    ],
)
def test_the_shorter_of_it_and_nnis_own_counts(
    tmp_path: Path, given: object, nni: object, expected: tuple[float, str]
) -> None:
    limits = in_force(log_of(tmp_path), given, maxTrialDuration=nni)
    assert (limits.seconds, limits.seconds_from) == expected


def test_by_default_trials_have_ten_times_the_longest_of_the_first(tmp_path: Path) -> None:
    limits = in_force(log_of(tmp_path, 10, 20, 30, 400))
    assert limits.seconds == 24 * 3600
    assert "until 5 trials have completed" in limits.over_time()
    limits = in_force(log_of(tmp_path, 10, 20, 30, 400, 50))
    assert limits.seconds == 4000
    assert limits.over_time() == (
        "over its limit of 4000 s (10 times the longest of 5 complete trials, at least 600 s; "
        "trial_limits.seconds sets another)"
    )
    assert in_force(log_of(tmp_path, *[2] * 5)).seconds == 600


def test_a_clock_set_back_shortens_no_limit(tmp_path: Path) -> None:
    assert in_force(log_of(tmp_path, 100, 200, 300, 100, 90, -1e7)).seconds == 3000
    assert in_force(log_of(tmp_path, *[-1e7] * 9)).seconds == 24 * 3600


@pytest.mark.parametrize(
    ("config", "share"),
    [
        ({}, 0.8),
        ({"trialConcurrency": 4, "trainingService": {"platform": "local"}}, 0.2),
        (
            {
                "trialConcurrency": 4,
                "trainingService": {"platform": "remote", "machineList": [{}, {}]},
            },
            0.4,
        ),
        ({"trialConcurrency": 4, "trainingService": {"platform": "frameworkcontroller"}}, 0.8),
    ],
)
def test_by_default_the_trials_of_a_machine_share_its_memory(
    tmp_path: Path, config: dict[str, Any], share: float
) -> None:
    limits = in_force(log_of(tmp_path), **config)
    assert limits.memory_on(10_000) == pytest.approx(10_000 * share)
    assert "80% of the machine's memory" in limits.over_memory(9000, 8000)


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    assert Limits.read(tmp_path) is None
    for limits in (Limits(), in_force(log_of(tmp_path)), Limits(60, "a", 500, None, "b")):
        limits.write(tmp_path)
        assert Limits.read(tmp_path) == limits
    with pytest.raises(ValueError, match="not the limits"):
        Limits.of({"seconds": 5})


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("25s", 25), ("1.5m", 90), ("2H", 7200), (30, 30), ("1d", 86400), (None, None), ("x", None),
     ("", None), ("infs", None)],
)  # fmt: skip
def test_nnis_durations(told: object, seconds: float | None) -> None:
    assert duration_s(told) == seconds
