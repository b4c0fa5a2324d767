"""A real experiment whose trials hang, take too much memory and heed no signal, each in its way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from nni_plugin.study.trial_log import TrialLog
from support.joint_ga_run import TRIAL, get

pytestmark = [pytest.mark.nni, pytest.mark.slow]

SECONDS, MEGABYTES = 12, 600
# The first takes its parameters straight from NNI, which holds it to nothing.
BODY = f"""
import ctypes, os, signal, time
if os.environ["NNI_TRIAL_SEQ_ID"] == "0":
    import nni
    nni.get_next_parameter()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)
{TRIAL}"""
# By uid: 2 hangs, 3 grows, 4 heeds no signal while native code holds Python's lock, 5 crashes.
FAULTS = """params = trial_parameters()
uid = params["uid"]
if uid == 2:
    time.sleep(600)
if uid == 3:
    held = []
    while True:
        held.append(bytearray(20 << 20))
        time.sleep(0.02)
if uid == 4:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(600)
if uid == 5:
    raise FileNotFoundError("no images in ./data")
"""
OVER_TIME = f"over its limit of {SECONDS} s (trial_limits.seconds)"


def test_trials_over_their_limits_fail_and_the_search_goes_on(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    body = BODY.replace("params = trial_parameters()\n", FAULTS)
    limits = {"seconds": SECONDS, "memory_mb": MEGABYTES}
    running = run(7, "--keep", body=body, trial_limits=limits)
    url = running.wait_for(r"NNI's web UI +(http://\S+)\n")[1]
    identity = re.search(r"Experiment (\w+) is running", running.text)[1]
    try:
        assert running.process.wait(300) == 0, running.text
        (home,) = (tmp_path / "experiments").glob(identity)
        trials = TrialLog.read(home / "checkpoint" / "journal.jsonl").trials
        ended = {uid: trials[uid].status for uid in range(1, 8)}
        assert list(ended.values()) == ["failed"] * 5 + ["complete"] * 2
        reasons = {uid: trials[uid].reason for uid in range(1, 6)}
        assert reasons[1] == reasons[2] == reasons[4] == OVER_TIME
        assert reasons[3].startswith(f"over its memory limit of {MEGABYTES} MB with ")
        assert reasons[5] == "the trial failed: FileNotFoundError: no images in ./data"
        jobs = {job["trialJobId"]: job for job in json.loads(get(f"{url}/api/v1/nni/trial-jobs"))}
        told = [jobs[trials[uid].job_id] for uid in reasons]
        # NNI calls failed what the trial's own process ended, and cancelled what it had to kill.
        assert [job["status"] for job in told] == ["USER_CANCELED"] + ["FAILED"] * 4
        # The table of NNI's UI shows this under "Message".
        assert [job["message"] for job in told] == list(reasons.values())
        # And what the UI opens as the trial's error ends with the reason.
        for uid in (2, 3, 4):
            file = f"{url}/api/v1/nni/trial-file/{trials[uid].job_id}/stderr"
            assert get(file).decode().strip().endswith(f"trial failed: {reasons[uid]}")
        for uid, reason in reasons.items():
            assert f"uid {uid} failed: {reason}\n" in running.text
        assert f"is {OVER_TIME}: it is ended.\n" in running.text
        assert watchers_of(tmp_path) == []
    finally:
        subprocess.run(
            [sys.executable, "-m", "nni.tools.nnictl.nnictl", "stop", identity],
            env={**os.environ, "HOME": str(tmp_path), "NNI_CONFIG_DIR": str(tmp_path / "nni")},
            capture_output=True,
            check=True,
        )


def watchers_of(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(home) and any(
                argument.endswith("trial_watcher") for argument in process.cmdline()
            ):
                found.append(process.pid)
    return found
