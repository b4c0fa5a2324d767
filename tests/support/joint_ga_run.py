"""``joint-ga run`` as a process of its own, on a small made-up experiment."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

from support.paths import REPOSITORY

JOINT_GA = (sys.executable, "-m", "nni_plugin.cli")
TRIAL = """
import os, time
from nni_plugin import trial_parameters
import nni
params = trial_parameters()
assert "NODE_OPTIONS" not in os.environ, "trials must not inherit the manager's"
x, y = params["conv.prune"], params["conv.w_bits"]
metrics = {"default": round(0.9 - x / 4 + y / 100, 4), "accuracy": round(0.9 - x / 4 + y / 100, 4),
           "size_kb": round((1 - x) * y * 5 + 1, 3), "latency_ms": round(10 - 8 * x, 3),
           "baseline_accuracy": 0.99, "uid": params["uid"]}
nni.report_intermediate_result(metrics)
nni.report_final_result(metrics)
"""
SPACE = {
    "conv.prune": {"_type": "choice", "_value": [0.0, 0.25, 0.5, 0.75]},
    "conv.w_bits": {"_type": "choice", "_value": [2, 4, 8]},
    "fc.w_bits": {"_type": "choice", "_value": [4, 8]},
}


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return answer.read()


def answers(url, text):
    """Whether the manager of the experiment that a run told of still answers.

    Another run may have taken its port: tests run side by side.
    """
    (experiment,) = set(re.findall(r"Experiment (\w+) is running", text))
    try:
        return json.loads(get(f"{url}/api/v1/nni/experiment"))["id"] == experiment
    except OSError:
        return False


def default_signals():
    """Signals as a terminal gives them: `nohup make test` hands SIGHUP on ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def config_in(folder, trials, body=TRIAL, **class_args):
    (folder / "trial.py").write_text(body)
    (folder / "space.json").write_text(json.dumps(SPACE))
    goals = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
    settings = {
        "searchSpaceFile": "space.json",
        "trialCommand": "python3 trial.py",
        "trialCodeDirectory": ".",
        "trialConcurrency": 2,
        "maxTrialNumber": trials,
        "experimentWorkingDirectory": str(folder / "experiments"),
        "tuner": {
            "className": "nni_plugin.JointGATuner",
            "codeDirectory": str(REPOSITORY),
            "classArgs": {"objectives": goals, "population_size": 4, **class_args},
        },
        "trainingService": {"platform": "local"},
    }
    (folder / "config.yml").write_text(json.dumps(settings))


class Run:
    """``joint-ga run``, or another command, in a home of its own."""

    def __init__(self, folder, *options, command=("run", "config.yml")):
        environment = {**os.environ, "HOME": str(folder), "NNI_CONFIG_DIR": str(folder / "nni")}
        environment.pop("NODE_OPTIONS", None)
        (folder / "nni").mkdir(exist_ok=True)
        self.output = (folder / f"{command[0]}.txt").open("w+")
        self.process = subprocess.Popen(
            [*JOINT_GA, *command, *options],
            cwd=folder,
            env=environment,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            preexec_fn=default_signals,
        )

    @property
    def text(self):
        return Path(self.output.name).read_text()

    def wait_for(self, pattern, seconds=180):
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.text)):
            assert time.monotonic() < end, self.text
            assert self.process.poll() is None or re.search(pattern, self.text), self.text
            time.sleep(0.2)
        return match

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(150)
        self.output.close()


def kill_9(folder, word):
    """Processes of the experiment in this home, by a word of their command line."""
    killed = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(folder) and any(
                argument.endswith(word) for argument in process.cmdline()
            ):
                process.kill()
                killed += 1
    assert killed, f"no process with {word!r}"
