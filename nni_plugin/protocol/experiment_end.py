"""The end of an experiment that the tuner decides on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nni_plugin.protocol import manager
from nni_plugin.protocol.log import logger

POLL_S = 1.0


class ExperimentEnd(threading.Thread):
    """Waits until the manager's trials have ended, then lets the experiment become DONE.

    It asks the manager and not the tuner: trials that NNI runs again after a resume end without
    a word to the tuner.

    Args:
        reason: why the search is over: ``budget``, ``stagnation`` or ``exhausted``.
        wanted: asked before each look, with this thread: False calls it off.
    """

    def __init__(self, reason: str, wanted: Callable[[ExperimentEnd], bool]) -> None:
        super().__init__(name="joint-ga-end", daemon=True)
        self.reason = reason
        self._wanted = wanted
        self._pause = threading.Event()

    def run(self) -> None:
        """Polls once a second; without a manager there is nothing to do."""
        base = manager.dispatcher_url()
        while base is not None and self._wanted(self):
            try:
                jobs = manager.get(base, "/trial-jobs")
                if all(job.get("status") in manager.TRIAL_ENDED for job in jobs) and self._wanted(
                    self
                ):
                    trials = manager.end_experiment(base)
                    logger.info("experiment ended (%s) after %d trials", self.reason, trials)
                    return
            except (OSError, ValueError) as error:
                logger.warning("could not end the experiment yet: %s", error)
            self._pause.wait(POLL_S)
