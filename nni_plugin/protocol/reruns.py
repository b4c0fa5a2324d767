"""Trials that NNI runs again by itself after a resume."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from nni_plugin.protocol import manager
from nni_plugin.protocol.metrics import reported_uid


class Reruns:
    """Which chromosomes NNI's manager runs again, and which of those trials have ended since.

    NNI starts its unfinished trials again, with their parameters, hands their results over as
    imported data and says nothing when they fail. Trials that failed while the tuner was away are
    never mentioned at all.

    Args:
        base: the manager's URL; without one nothing is run again.
        uids: chromosomes without a result.

    Raises:
        OSError: the manager doesn't answer.
    """

    def __init__(self, base: str | None, uids: Collection[int]) -> None:
        self._base = base
        self._trials: dict[str, int] = {}
        if base is None or not uids:
            return
        # Asked while the manager starts its trials, when a busy machine takes its time.
        for job in manager.get(base, "/trial-jobs", timeout=60):
            if job.get("status") in manager.TRIAL_ENDED or not job.get("hyperParameters"):
                continue
            uid = _uid(job["hyperParameters"])
            if uid is not None and uid in uids:
                self._trials[job["trialJobId"]] = uid

    @property
    def uids(self) -> set[int]:
        """The chromosomes whose trials run again and have not ended."""
        return set(self._trials.values())

    def ended(self) -> list[tuple[int, str, str]]:
        """Chromosomes whose trial has ended since the last call, with its id and its status."""
        found = []
        for trial, uid in list(self._trials.items()):
            assert self._base is not None
            try:
                status = manager.get(self._base, f"/trial-jobs/{trial}").get("status", "")
            except (OSError, ValueError):
                continue  # looked at again with the next request
            if status in manager.TRIAL_ENDED:
                del self._trials[trial]
                found.append((uid, trial, status))
        return found


def _uid(parameters: Sequence[str]) -> int | None:
    """The chromosome of NNI's record of a trial; trials that a user added may have none."""
    try:
        record = json.loads(parameters[0])
    except (ValueError, TypeError):
        return None
    return reported_uid(record.get("parameters")) if isinstance(record, dict) else None
