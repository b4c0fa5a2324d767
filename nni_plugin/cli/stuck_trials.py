"""Keeps ``joint-ga run`` from waiting for ever: for trials that do not end, or do not start.

A trial's own process keeps its limits. One that takes its parameters straight from NNI has nothing
that does, so what is over its limit of time for a while is ended from here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil

from nni_plugin.protocol import manager
from nni_plugin.protocol.limits import Limits
from nni_plugin.setup import processes
from nni_plugin.setup.launcher import Session

__all__ = ["StuckTrials"]

# Choices. A trial may write its last words; the GPU that NNI waits for may be somebody else's.
PATIENCE_S = 30.0
SAY_IDLE_S = 300.0
GIVE_UP_IDLE_S = 3600.0
_LOOK_S = 10.0


class StuckTrials:
    """Looks now and then at what NNI has running.

    Args:
        session: the experiment.
        say: told what is done, a line at a time.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        session: Session,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._say = say
        self._clock = clock
        self._next = 0.0
        # When each was first seen to run, and when it was ended.
        self._since: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._idle_since = clock()
        self._finished = 0
        self._told_idle = False

    def look(self, finished: int = 0) -> str | None:
        """Ends what is over its limit.

        Args:
            finished: number of trials that have ended; while it grows nothing is stuck.

        Returns:
            Why there is nothing to wait for any more; None to go on.

        Raises:
            OSError: the manager doesn't answer.
        """
        now = self._clock()
        if now < self._next:
            return None
        self._next = now + _LOOK_S
        running = self._session.running_trials()
        self._since = {trial: self._since.get(trial, now) for trial in running}
        self._forget_idle(now, finished, is_idle=not running)
        return self._end_overdue(now) or self._idle(now)

    # ---- trials that do not end

    def _end_overdue(self, now: float) -> str | None:
        limits = Limits.read(self._session.folder / "log")
        if limits is None or limits.seconds is None:
            return None
        for trial, since in self._since.items():
            if now - since <= limits.seconds + PATIENCE_S:
                continue
            if trial not in self._ended:
                self._ended[trial] = now
                self._say(f"Trial {trial} is {limits.over_time()}: it is ended.")
                self._end(trial)
            elif now - self._ended[trial] > PATIENCE_S:
                return f"trial {trial} is {limits.over_time()} and can't be ended"
        return None

    def _end(self, trial: str) -> None:
        # The manager answers once the trial has ended, if it does.
        with contextlib.suppress(OSError):
            manager.cancel_trial(self._session.url, trial)
        # NNI ends the shell that it started, which may leave what the shell started.
        for process in processes.of_trial(self._session.mark, trial):
            with contextlib.suppress(psutil.Error):
                process.kill()

    # ---- trials that do not start

    def _forget_idle(self, now: float, finished: int, *, is_idle: bool) -> None:
        if not is_idle or finished != self._finished:
            self._finished = finished
            self._idle_since, self._told_idle = now, False

    def _idle(self, now: float) -> str | None:
        waited = now - self._idle_since
        if waited > GIVE_UP_IDLE_S:
            return f"no trial has run for {waited / 60:.0f} minutes"
        if waited > SAY_IDLE_S and not self._told_idle:
            self._told_idle = True
            self._say(
                f"No trial has run for {waited / 60:.0f} minutes: NNI waits for a place to start "
                "one (a free GPU, a machine that answers), or for the tuner. The logs say which: "
                f"{self._session.folder / 'log'}. After {GIVE_UP_IDLE_S / 60:.0f} minutes the "
                "experiment is stopped."
            )
        return None
