"""NNI manager's REST interface, as much of it as a tuner or a trial needs.

No proxy is ever used: the manager is on this machine or on the cluster's own network, and an
``http_proxy`` that is set for downloads would swallow the requests.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TRIAL_ENDED = frozenset({"SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED"})
"""NNI's statuses of a trial that has ended."""

EXPERIMENT_ENDED = frozenset({"DONE", "ERROR", "STOPPED"})
"""NNI's statuses of an experiment that has ended."""


def dispatcher_url() -> str | None:
    """The manager's base URL as seen by the tuner's process; None without a manager."""
    channel = os.environ.get("NNI_TUNER_COMMAND_CHANNEL", "")
    match = re.fullmatch(r"ws(s?)://(.+)/tuner/?", channel)
    return f"http{match[1]}://{match[2]}" if match else None


def trial_url() -> str | None:
    """The manager's base URL as seen by a trial, on this machine or a remote one.

    A local trial's command channel is the manager itself. On a remote machine it is the trial
    keeper, whose own configuration names the manager.
    """
    channel = os.environ.get("NNI_TRIAL_COMMAND_CHANNEL", "")
    if os.environ.get("NNI_PLATFORM") == "remote":
        machine = Path(os.environ["NNI_OUTPUT_DIR"]).parents[1]
        # Each resume adds a folder; the manager's address is in the latest.
        launches = machine.glob("trial_keeper*/launcher_config.json")
        config = json.loads(max(launches, key=lambda file: file.stat().st_mtime).read_text())
        channel = re.sub(r"^ws", "http", config["managerCommandChannel"])
        return re.sub(r"/(platform|env|remote)/.*$", "", channel)
    return re.sub(r"/env/[^/]+/[^/]+$", "", channel) or None


def get(base: str, path: str, timeout: float = 5.0) -> Any:
    """``GET`` of ``/api/v1/nni<path>``, decoded.

    Raises:
        OSError: the manager can't be reached or answers with an error.
        ValueError: the answer is no JSON.
    """
    with _OPENER.open(f"{base}/api/v1/nni{path}", timeout=timeout) as answer:
        return json.loads(answer.read())


def end_experiment(base: str) -> int:
    """Lets the experiment end as DONE once its running trials have ended.

    NNI's manager knows two ends only, the number of trials and the duration; a tuner that has no
    more candidates leaves it waiting for ever. So the number of trials is set to those submitted.

    Returns:
        The number of trials.
    """
    trials = len(get(base, "/trial-jobs"))
    profile = get(base, "/experiment")
    profile["params"]["maxTrialNumber"] = max(trials, 1)
    request = urllib.request.Request(
        f"{base}/api/v1/nni/experiment?update_type=MAX_TRIAL_NUM",
        data=json.dumps(profile).encode(),
        headers={"Content-Type": "application/json"},
        method="PUT",
    )
    _OPENER.open(request, timeout=5).close()
    return trials
