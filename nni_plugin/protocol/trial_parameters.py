"""A trial's own parameters.

With trials side by side NNI 3.0 gives each the parameters of whichever asked first
(microsoft/nni#5726): web UI, export and resume then show the metrics beside another trial's
parameters. The manager's record of a trial is right, so a trial reads that.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from nni_plugin.protocol import manager, trial_watcher
from nni_plugin.protocol.json_types import Params, Settings

_WAIT_S = 60.0


def trial_parameters() -> dict[str, Any]:
    """The parameters of this trial, ``uid`` included.

    To be called once, in place of ``nni.get_next_parameter``, which it is outside an experiment.
    From then on the process is held to the limits of a trial, see ``nni_plugin.protocol.limits``.

    Raises:
        RuntimeError: the manager doesn't tell this trial's parameters within a minute.
    """
    import nni
    import nni.trial

    trial = os.environ.get("NNI_TRIAL_JOB_ID")
    base = manager.trial_url() if trial else None
    if base is not None:
        trial_watcher.start()
    # Takes one entry from the manager's queue, which it hands out one per trial.
    first_come: Params = nni.get_next_parameter()
    if base is None:
        return first_come
    record = _own_record(base, f"/trial-jobs/{trial}")
    # Reported metrics are labelled with the id in here.
    nni.trial._params = record
    parameters: Params = record["parameters"]
    return parameters


def _own_record(base: str, path: str) -> Settings:
    deadline = time.monotonic() + _WAIT_S
    problem = "it is not listed"
    while time.monotonic() < deadline:
        # The trial can be up before the manager has written its record down.
        try:
            job = manager.get(base, path)
            if job and job.get("hyperParameters"):
                record: Settings = json.loads(job["hyperParameters"][0])
                return record
        except (OSError, ValueError) as error:
            problem = str(error)
        time.sleep(0.1)
    raise RuntimeError(
        f"NNI's manager at {manager.address(base)} did not give this trial's parameters within "
        f"{_WAIT_S:.0f} s ({problem}); on a remote machine check that nniManagerIp can be reached "
        "from there"
    )
