"""``trial_limits`` of the class arguments: what a trial may take, and what holds by default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ga.evaluation import COMPLETE, IMPORTED, RUNNING
from ga.problem.finite import as_finite, shortened
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.study.trial_log import TrialLog

NAME = "trial_limits"
NO_LIMIT = "none"

# Choices. A trial that hangs costs one of the places at work; one that is ended although it would
# have come to a result is lost, so these are generous.
TRIALS_SEEN = 5
TIMES_THE_LONGEST = 10
SHORTEST_S = 600.0
AT_FIRST_S = 24 * 3600.0
SHARE_OF_MEMORY = 0.8

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class TrialLimits:
    """What a config says about the limits of its trials.

    Attributes:
        seconds: as given; None for the default, infinite for no limit.
        memory_mb: likewise.
    """

    seconds: float | None = None
    memory_mb: float | None = None

    @classmethod
    def parse(cls, given: object) -> TrialLimits:
        """Checks ``{seconds: 600, memory_mb: 4000}``; either may be missing or ``none``.

        Raises:
            ValueError: a key doesn't exist, or a value is no positive number.
        """
        if given is None:
            return cls()
        names = tuple(cls.__dataclass_fields__)
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{NAME}={shortened(given)} should be a mapping, such as {{seconds: 600, "
                "memory_mb: 4000}"
            )
        for name in given:
            if name not in names:
                raise ValueError(
                    f"{NAME}: there is no limit {shortened(name)}"
                    f"{did_you_mean(str(name), names)} (allowed: {', '.join(names)})"
                )
        return cls(**{name: _limit(name, value) for name, value in given.items()})

    def in_force(self, config: Settings, log: TrialLog) -> Limits:
        """The limits for trials from now on.

        Args:
            config: the experiment's; ``maxTrialDuration``, ``trialConcurrency`` and
                ``trainingService`` count.
            log: of the trials so far.
        """
        seconds, seconds_from = self._seconds(log)
        own = duration_s(config.get("maxTrialDuration"))
        is_default = self.seconds is None
        if own is not None and (is_default or seconds is None or own < seconds):
            seconds, seconds_from = own, "maxTrialDuration"
        if self.memory_mb is not None:
            megabytes = None if math.isinf(self.memory_mb) else self.memory_mb
            return Limits(seconds, seconds_from, megabytes, None, f"{NAME}.memory_mb")
        at_once = _trials_of_a_machine(config)
        shared = f" for {at_once} trials at once" if at_once > 1 else ""
        return Limits(
            seconds,
            seconds_from,
            None,
            SHARE_OF_MEMORY / at_once,
            f"{SHARE_OF_MEMORY:.0%} of the machine's memory{shared}; {NAME}.memory_mb sets another",
        )

    def _seconds(self, log: TrialLog) -> tuple[float | None, str]:
        if self.seconds is not None:
            return None if math.isinf(self.seconds) else self.seconds, f"{NAME}.seconds"
        setting = f"{NAME}.seconds sets another"
        took = durations_s(log)
        if any(run.status == RUNNING for run in log.finals.values()) and not any(
            run.status == COMPLETE for run in log.finals.values()
        ):
            return AT_FIRST_S, f"until a training to the end has completed; {setting}"
        if len(took) < TRIALS_SEEN:
            return AT_FIRST_S, f"until {TRIALS_SEEN} trials have completed; {setting}"
        longest = max(took)
        limit = math.ceil(max(SHORTEST_S, TIMES_THE_LONGEST * longest))
        return limit, (
            f"{TIMES_THE_LONGEST} times the longest of {len(took)} complete trials, at least "
            f"{SHORTEST_S:g} s; {setting}"
        )


def durations_s(log: TrialLog) -> list[float]:
    """How long the complete trials of a search took, in seconds, the wait for a start included.

    Trainings to the end count, too: the limit is one for all.

    A trial over which the clock was set back is left out.
    """
    spans = [
        trial.finished - trial.asked
        for trial in [*log.finished(COMPLETE), *log.finals.values()]
        if trial.status == COMPLETE
        and trial.origin != IMPORTED
        and trial.finished is not None
        and trial.asked is not None
    ]
    return [span for span in spans if span > 0]


def duration_s(value: object) -> float | None:
    """NNI's durations, a number of seconds or ``"10m"``; None for none."""
    if isinstance(value, str) and value[-1:].lower() in _UNITS:
        try:
            number = float(value[:-1])
        except ValueError:
            return None
        return math.ceil(number * _UNITS[value[-1].lower()]) if math.isfinite(number) else None
    return as_finite(value)


def _limit(name: str, value: object) -> float | None:
    if value is None:
        return None
    if value == NO_LIMIT:
        return math.inf
    number = as_finite(value)
    if number is None or number <= 0:
        raise ValueError(
            f"{NAME}: {name}={shortened(value)} should be a positive number, or {NO_LIMIT!r} for "
            "no limit"
        )
    return number


def _trials_of_a_machine(config: Settings) -> int:
    """How many trials may share a machine; where NNI's service has containers, one."""
    concurrency = config.get("trialConcurrency")
    if not isinstance(concurrency, int) or concurrency < 1:
        return 1
    service = config.get("trainingService")
    service = service if isinstance(service, Mapping) else {}
    platform = service.get("platform", "local")
    if platform == "local":
        return concurrency
    machines = service.get("machineList")
    if platform == "remote" and isinstance(machines, list) and machines:
        return math.ceil(concurrency / len(machines))
    return 1
