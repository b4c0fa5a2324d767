"""Tells a manager that is gone or hangs from one that a busy machine keeps waiting."""

from __future__ import annotations

import time

from nni_plugin.setup import processes

__all__ = ["ManagerWatch"]

_GONE_AFTER = 5
"""So many requests in a row that a manager without a process did not answer."""
_HANGS_S = 22.0
"""From the first request without an answer on: one that works has used some CPU by then."""
_STUCK_S = 120.0
"""The same for one that uses CPU all the while."""


class ManagerWatch:
    """Counts the requests that an experiment's manager on this machine did not answer.

    No answer alone says little: at a load of 20 a request may take longer than anybody waits. But
    a manager that works uses CPU, however little it gets.

    Args:
        experiment: NNI's id.
    """

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._failures = 0
        self._since = 0.0
        self._seconds = 0.0

    def answered(self) -> None:
        """Notes an answer."""
        self._failures = 0

    def is_lost(self) -> bool:
        """Notes a request without an answer; whether no answer will come any more."""
        now = time.monotonic()
        pids = processes.managers(self._experiment)
        seconds = processes.cpu_seconds(pids)
        if not self._failures:
            self._since, self._seconds = now, seconds
        self._failures += 1
        if not pids:
            return self._failures >= _GONE_AFTER
        waited = now - self._since
        return waited >= _STUCK_S or (waited >= _HANGS_S and seconds == self._seconds)
