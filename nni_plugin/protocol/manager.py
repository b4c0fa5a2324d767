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
_API = "/api/v1/nni"
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
    keeper, whose own configuration names the manager, with the token that it asks for from there.
    """
    channel = os.environ.get("NNI_TRIAL_COMMAND_CHANNEL", "")
    if os.environ.get("NNI_PLATFORM") == "remote":
        machine = Path(os.environ["NNI_OUTPUT_DIR"]).parents[1]
        # Each resume adds a folder with the next number; the manager's address is in the latest.
        launches = machine.glob("trial_keeper*/launcher_config.json")
        latest = max(launches, key=lambda file: _number(file.parent.name))
        channel = re.sub(r"^ws", "http", json.loads(latest.read_text())["managerCommandChannel"])
        return re.sub(r"/(platform|env|remote)/[^?]*", "", channel)
    return re.sub(r"/env/[^/]+/[^/]+$", "", channel) or None


def _number(folder: str) -> int:
    return int("".join(filter(str.isdigit, folder)) or 0)


def address(base: str) -> str:
    """A base URL as it may be shown and written down: without its token."""
    return base.partition("?token=")[0]


def _request(
    base: str, path: str, data: bytes | None = None, method: str | None = None
) -> urllib.request.Request:
    place, _, token = base.partition("?token=")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if data is not None:
        headers["Content-Type"] = "application/json"
    return urllib.request.Request(f"{place}{path}", data, headers, method=method)


def get(base: str, path: str, timeout: float = 5.0) -> Any:
    """``GET`` of ``/api/v1/nni<path>``, decoded.

    Args:
        base: the manager's URL, with ``?token=`` behind it where that is wanted.
        path: begins with a slash.
        timeout: in seconds.

    Raises:
        OSError: the manager can't be reached or answers with an error.
        ValueError: the answer is no JSON.
    """
    with _OPENER.open(_request(base, f"{_API}{path}"), timeout=timeout) as answer:
        return json.loads(answer.read())


def get_log(base: str, path: str, timeout: float = 5.0) -> Any:
    """A JSON file in NNI's log folder, which its web server serves.

    Raises:
        OSError: the manager can't be reached, or there is no such file.
        ValueError: the file holds no JSON.
    """
    with _OPENER.open(_request(base, f"/logs/{path}"), timeout=timeout) as answer:
        return json.loads(answer.read())


def trial_stderr(base: str, trial: str, timeout: float = 30.0) -> str:
    """What a trial wrote to stderr; the manager fetches it where the trial ran elsewhere.

    Raises:
        OSError: the manager can't be reached or has no such file.
    """
    path = f"{_API}/trial-file/{trial}/stderr"
    with _OPENER.open(_request(base, path), timeout=timeout) as answer:
        return str(answer.read().decode(errors="replace"))


def cancel_trial(base: str, trial: str, timeout: float = 30.0) -> None:
    """Has NNI end a trial: by SIGINT, and by SIGKILL five seconds later.

    Raises:
        OSError: the manager can't be reached or refuses.
    """
    request = _request(base, f"{_API}/trial-jobs/{trial}", method="DELETE")
    _OPENER.open(request, timeout=timeout).close()


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
    changed = json.dumps(profile).encode()
    path = f"{_API}/experiment?update_type=MAX_TRIAL_NUM"
    request = _request(base, path, changed, "PUT")
    _OPENER.open(request, timeout=5).close()
    return trials
