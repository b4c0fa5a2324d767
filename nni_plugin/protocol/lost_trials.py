"""Trials that ended without a result: when they are given up, and why they ended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from nni_plugin.protocol import manager
from nni_plugin.protocol.limits import OVER, Limits
from nni_plugin.protocol.trial_stderr import last_line, last_of, stderr_file

_LONGEST = 300
# NNI notes the start of a trial when it next looks, on a busy machine a while later.
_SLACK_S = 3.0
_CANCELED = ("USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED")

GiveUp = Callable[[int, str, str | None], None]
"""Told the chromosome's number, the reason and NNI's id of the trial."""


class LostTrials:
    """Gives up each of them after a while, for a result may still be on its way.

    Args:
        give_up: called on a thread of its own; may raise, since there is nobody to tell.
        experiment: the experiment's folder; None where NNI has none.
    """

    def __init__(self, give_up: GiveUp, experiment: Path | None = None) -> None:
        self.timers: set[threading.Timer] = set()
        self._give_up = give_up
        self._experiment = experiment

    def expect(
        self, seconds: float, uid: int, trial: str | None, limits: Limits, reason: str = ""
    ) -> None:
        """Gives a trial up so many seconds from now.

        Args:
            seconds: to wait.
            uid: its chromosome.
            trial: NNI's id of it, where known.
            limits: that it was held to.
            reason: why it counts as failed; by default what can be found out of its end.
        """

        def lost() -> None:
            self.timers.discard(timer)
            why = reason or why_failed(trial, self._experiment, limits)
            # `guarded` has told what went wrong, and a thread has nobody to raise to.
            with contextlib.suppress(Exception):
                self._give_up(uid, why, trial)

        timer = threading.Timer(seconds, lost)
        timer.daemon = True
        self.timers.add(timer)
        timer.start()

    def cancel(self) -> None:
        """Gives nothing up any more."""
        for timer in self.timers:
            timer.cancel()


def why_failed(trial: str | None, experiment: Path | None, limits: Limits) -> str:
    """Why a trial ended without a result, in one line: a limit, or the last it wrote to stderr.

    NNI itself shows the same word for a trial that it ended because of ``maxTrialDuration``, one
    that the user cancelled, and one that was killed.

    Args:
        trial: NNI's id, where known.
        experiment: the experiment's folder.
        limits: that it was held to.
    """
    if trial is None:
        return "the trial failed, was killed or ran out of time; see its stderr"
    words = _last_words(trial, experiment)
    said = words.removeprefix("trial failed: ")
    if said.startswith(OVER):
        return said
    base = manager.dispatcher_url()
    record: dict[str, object] = {}
    if base is not None:
        with contextlib.suppress(OSError, ValueError):
            record = manager.get(base, f"/trial-jobs/{trial}") or {}
    if record.get("status") in _CANCELED:
        begin, end = record.get("startTime"), record.get("endTime")
        ran = (end - begin) / 1000 if isinstance(begin, int) and isinstance(end, int) else 0.0
        if limits.seconds is not None and ran >= limits.seconds - _SLACK_S:
            return limits.over_time()
        last = f"; its last line: {said}" if said else ""
        return f"the trial was killed or cancelled{last}"
    return f"the trial failed: {said}" if said else "the trial failed and wrote nothing to stderr"


def _last_words(trial: str, experiment: Path | None) -> str:
    path = None if experiment is None else stderr_file(experiment, trial)
    if path is not None:
        return last_line(path)[:_LONGEST]
    base = manager.dispatcher_url()
    if base is None:
        return ""
    with contextlib.suppress(OSError):
        said = manager.trial_stderr(base, trial)
        # What NNI answers where the file is empty.
        return "" if said == "stderr is empty." else last_of(said)[:_LONGEST]
    return ""
