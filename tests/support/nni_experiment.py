"""Real NNI experiments for the tests, each with a home, a port and a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from support.paths import REPOSITORY

TRIAL = """
import sys, time
start = time.monotonic()
from nni_plugin import trial_parameters
import nni
params = trial_parameters()
time.sleep(float(params.get("wait", 0)))
{body}
nni.report_final_result({{
    "default": params["x"] + params["y"], "size": 2 * params["x"] - params["y"],
    "x": params["x"], "y": params["y"], "uid": params["uid"],
}})
"""
GRID = {
    "x": {"_type": "choice", "_value": [0, 1, 2, 3]},
    "y": {"_type": "choice", "_value": [0, 1, 2, 3]},
}


class NniExperiment:
    """One experiment, driven through ``nnictl`` and the manager's REST interface."""

    repository = REPOSITORY

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.id = ""
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "NNI_CONFIG_DIR": str(folder / "config"),
            "PYTHONPATH": str(REPOSITORY),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        for name in ("home", "config", "experiments"):
            (folder / name).mkdir()

    def config(self, body: str = "", tuner: Any = None, **settings: Any) -> dict[str, Any]:
        """Settings of an experiment with trials that take no time; ``body`` is run in each."""
        (self.folder / "trial.py").write_text(TRIAL.format(body=body))
        own = {
            "className": "nni_plugin.JointGATuner",
            "codeDirectory": str(REPOSITORY),
            "classArgs": {"objectives": {"default": "maximize", "size": "minimize"}},
        }
        return {
            "searchSpace": GRID,
            "trialCommand": "python trial.py",
            "trialCodeDirectory": str(self.folder),
            "tuner": tuner or own,
            **settings,
        }

    # ---- start and end

    def create(self, config: Mapping[str, Any]) -> NniExperiment:
        config = {
            "trialConcurrency": 1,
            "trainingService": {"platform": "local"},
            "experimentWorkingDirectory": str(self.folder / "experiments"),
            **config,
        }
        path = self.folder / "config.yml"
        path.write_text(yaml.safe_dump(config))
        return self.create_file(path)

    def create_file(self, path: Path) -> NniExperiment:
        def attempt() -> None:
            self.nnictl("create", "--config", str(path), "--port", str(self.port))
            started = (self.folder / "experiments").glob("[!_.]*")
            self.id = max(started, key=lambda folder: folder.stat().st_mtime).name

        self._start(attempt)
        return self

    def _start(self, attempt: Callable[[], None]) -> None:
        """NNI gives its web server 3 s and its tuner 10 s, which a busy machine may not keep."""
        for last in (False, False, True):
            self.port = _free_port()
            try:
                attempt()
                if last or self._tuner_is_up():
                    return
            except AssertionError:
                if last:
                    raise
            self.close()
            time.sleep(2)

    def _tuner_is_up(self) -> bool:
        def told() -> bool:
            late = "did not connect" in str(self.rest("/check-status")["errors"])
            return late or "Initial search space" in self.log()

        return bool(self.wait_for(told, 90)) and "Initial search space" in self.log()

    def guard(self, environment: Mapping[str, str]) -> None:
        """Its manager gets what ``joint-ga run`` gives one, see ``launcher.environment``."""
        names = [n for n in environment if n == "NODE_OPTIONS" or n.startswith("JOINT_GA_")]
        self.environment.update({name: environment[name] for name in names})

    def nnictl(self, *arguments: str) -> str:
        # The start has NNI's own time limits, which other tests beside this one must not break.
        first = ["nice", "-n", "-10"] if os.getuid() == 0 else []
        done = subprocess.run(
            [*first, str(Path(sys.executable).with_name("nnictl")), *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        return output

    def stop(self) -> None:
        self.nnictl("stop", self.id)

    def resume(self) -> None:
        # Appended to on resume; an earlier start's lines would pass for this one's.
        (self.home / "log" / "dispatcher.log").unlink()
        self._start(lambda: self.nnictl("resume", self.id, "--port", str(self.port)) and None)

    def close(self) -> None:
        """Kill what is left of it; quicker than ``nnictl stop``."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, word: str = "") -> list[int]:
        """Processes of this experiment (its folder is in their environment), by command."""
        mine = f"={self.folder}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                if mine in (process / "environ").read_bytes() and word.encode() in command:
                    found.append(int(process.name))
        return found

    def kill(self, word: str) -> None:
        """kill -9 of the manager (``main.js``) or the tuner (``-m nni --exp_params``)."""
        pids = self.processes(word)
        assert pids, f"no process with {word!r}"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- what it says

    def rest(self, path: str, body: Any = None, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/nni{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    @property
    def status(self) -> str:
        return str(self.rest("/check-status")["status"])

    def wait(self, *statuses: str, seconds: float = 120) -> str:
        return self.wait_for(lambda: self.status in statuses and self.status, seconds)

    def wait_for(self, ready: Callable[[], Any], seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if value := ready():
                    return value
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s; dispatcher.log:\n{self.log()[-6000:]}")

    def trials(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self.rest("/trial-jobs")
        return jobs

    def succeeded(self) -> list[tuple[dict[str, Any], Any]]:
        """Parameters and final metrics as the web UI pairs them."""
        return [
            (
                json.loads(job["hyperParameters"][0])["parameters"],
                json.loads(json.loads(job["finalMetricData"][0]["data"])),
            )
            for job in self.trials()
            if job["status"] == "SUCCEEDED" and job.get("finalMetricData")
        ]

    def wrong_pairs(self) -> list[Any]:
        """Trials that the web UI shows beside another one's parameters."""
        return [
            (params, metrics)
            for params, metrics in self.succeeded()
            if any(params[name] != metrics[name] for name in ("x", "y", "uid"))
        ]

    @property
    def home(self) -> Path:
        return self.folder / "experiments" / self.id

    def log(self) -> str:
        path = self.home / "log" / "dispatcher.log"
        return path.read_text() if path.exists() else "(no dispatcher.log)"

    def journal(self) -> list[dict[str, Any]]:
        from nni_plugin.study.journal import read

        return read(self.home / "checkpoint" / "journal.jsonl")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
