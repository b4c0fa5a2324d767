"""Starts an NNI experiment the safe way, follows it, and stops it: what ``joint-ga run`` does.

Three things plain ``nnictl create`` leaves to the user: the trials find the interpreter that
nnictl itself runs on; the manager listens on 127.0.0.1 only; a free port is chosen.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evaluators.cache import locked
from nni_plugin.protocol import manager

__all__ = ["Session", "SessionError", "environment", "free_port"]

_ASSETS = Path(__file__).parents[1] / "assets"
_NNICTL = (sys.executable, "-m", "nni.tools.nnictl.nnictl")
_FIRST_PORT = 8080
_STOP_S = 60.0
_PORTS = Path(tempfile.gettempdir()) / f"joint-ga-ports-{os.getuid()}"
"""Locked from the choice of a port until its manager listens, in whichever home."""
_CREATED = re.compile(r"Experiment ID: (\w+)")
_LATE = re.compile(r"JSONDecodeError|ConnectionError|Restful server start failed|timed out", re.I)
"""What nnictl ends with when its manager has not answered within NNI's own limits."""


class SessionError(RuntimeError):
    """NNI could not be started or stopped; the message holds what NNI said."""


def _listens(port: int, hosts: tuple[str, ...] = ("127.0.0.1", "::1")) -> bool:
    return any(_connects(host, port) for host in hosts)


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def free_port(wanted: int | None = None, count: int = 1) -> int:
    """A port on which, and on the ``count - 1`` following ones, nobody listens.

    Args:
        wanted: this port or none; without it the first free one from 8080 on.
        count: NNI's remote services need two in a row.

    Raises:
        SessionError: ``wanted`` is in use or no valid port, or 100 ports in a row are in use.
    """
    if wanted is not None and not 1 <= wanted <= 65535:
        raise SessionError(f"port {wanted} is not a port (1 to 65535)")
    candidates = [wanted] if wanted else range(_FIRST_PORT, _FIRST_PORT + 100)
    for port in candidates:
        if not any(_listens(port + i) for i in range(count)):
            return port
    if wanted:
        raise SessionError(
            f"port {wanted} is in use: choose another (--port N) or leave --port out and a free "
            "one is taken; 'nnictl experiment list' shows experiments that still hold one"
        )
    raise SessionError(f"no free port from {_FIRST_PORT} to {_FIRST_PORT + 99}: give --port N")


def environment(host: str, names: Sequence[str] = ()) -> dict[str, str]:
    """Environment of the manager: its interpreter first on PATH, bound to ``host``.

    The manager refuses what a foreign web page may make a browser send: a ``Host`` that is neither
    an address nor a name of this machine, a foreign ``Origin``, a body that is not JSON.

    Args:
        host: the address to listen on; ``0.0.0.0`` or ``*`` for every interface.
        names: further names under which the manager is reached, as NNI's ``nniManagerIp``.
    """
    result = dict(os.environ)
    # Not resolved: inside a venv `python` is a link, and its folder is what makes it the venv's.
    folder = str(Path(sys.executable).parent)
    result["PATH"] = os.pathsep.join([folder, *filter(None, [result.get("PATH", "")])])
    # nnictl talks to its manager through `requests`, which would ask a configured proxy.
    for name in ("NO_PROXY", "no_proxy"):
        result[name] = ",".join(filter(None, [result.get(name), "127.0.0.1,localhost"]))
    before = result.get("NODE_OPTIONS", "")
    result["JOINT_GA_NODE_OPTIONS"] = before
    result["JOINT_GA_HOST"] = "*" if host == "0.0.0.0" else host
    result["JOINT_GA_NAMES"] = ",".join(names)
    result["NODE_OPTIONS"] = f'{before} --require "{_ASSETS / "manager_guard.cjs"}"'.strip()
    return result


@dataclass
class Session:
    """A started experiment.

    Attributes:
        id: NNI's experiment id.
        folder: the experiment's folder (``log/``, ``checkpoint/``, ``db/``).
        host: the address a browser uses.
        port: of the web UI.
        trials: ``maxTrialNumber``, None for no limit.
    """

    id: str
    folder: Path
    host: str
    port: int
    trials: int | None = None

    @property
    def url(self) -> str:
        """Address of NNI's web UI."""
        return f"http://{self.host}:{self.port}"

    @classmethod
    def start(cls, config: Path, host: str = "127.0.0.1", port: int | None = None) -> Session:
        """Runs ``nnictl create`` and waits until the experiment is set up.

        Raises:
            SessionError: a busy port, a remote service on 127.0.0.1, or what nnictl answered.
        """
        service = _platform(config)
        if service != "local" and host in ("127.0.0.1", "localhost"):
            raise SessionError(
                f"the {service!r} training service needs a manager that its machines can reach, "
                "and this one would listen on 127.0.0.1 only: give --host with an address of "
                "a trusted network (NNI's manager has no login and runs what it is sent)"
            )
        shown = "127.0.0.1" if host in ("0.0.0.0", "*") else host
        # Of two managers on one port the second dies, and its nnictl then sets up the first one's.
        with locked(_PORTS):
            manager_ip = _settings(config).get("nniManagerIp")
            env = environment(host, [str(manager_ip)] if manager_ip else [])
            words = ("create", "--config", str(config))
            port, started = _launch(words, env, port, 1 if service == "local" else 2)
        created = _CREATED.search(_plain(started.stdout))
        return cls._answering(shown, port, created[1] if created else None, started)

    @classmethod
    def resume(
        cls, experiment: str, folder: Path, host: str = "127.0.0.1", port: int | None = None
    ) -> Session:
        """Runs ``nnictl resume`` and waits until the experiment is set up again.

        Nothing of an earlier run may be left: see ``nni_plugin.setup.left_over``.

        Args:
            experiment: NNI's id.
            folder: its ``experimentWorkingDirectory``.
            host: as for ``start``.
            port: as for ``start``.

        Raises:
            SessionError: a busy port, or what nnictl answered.
        """
        shown = "127.0.0.1" if host in ("0.0.0.0", "*") else host
        with locked(_PORTS):
            words = ("resume", experiment, "--experiment_dir", str(folder))
            port, started = _launch(words, environment(host), port, 2)
        return cls._answering(shown, port, experiment, started)

    @classmethod
    def _answering(
        cls,
        host: str,
        port: int,
        expected: str | None,
        started: subprocess.CompletedProcess[str],
    ) -> Session:
        """The session of the manager that nnictl has started, once it answers."""
        profile = _wait_for_profile(f"http://{host}:{port}")
        if profile is None:
            raise SessionError(f"NNI's manager does not answer: {_last_words(started)}")
        if expected and expected != profile["id"]:
            raise SessionError(
                f"port {port} was taken by the experiment {profile['id']} at the same moment: "
                "start again, or choose another port (--port N)"
            )
        parameters: dict[str, Any] = profile["params"]
        home = parameters.get("experimentWorkingDirectory") or Path.home() / "nni-experiments"
        folder = Path(home) / profile["id"]
        return cls(profile["id"], folder, host, port, parameters.get("maxTrialNumber"))

    def status(self) -> tuple[str, list[str]]:
        """NNI's status (RUNNING, DONE, ERROR, ...) and the errors it notes.

        Raises:
            OSError: the manager is gone.
        """
        answer = manager.get(self.url, "/check-status")
        return answer["status"], [str(e) for e in answer.get("errors", [])]

    def trial_counts(self) -> dict[str, int]:
        """Trials by NNI's status.

        Raises:
            OSError: the manager is gone.
        """
        answer = manager.get(self.url, "/job-statistics")
        return {entry["trialJobStatus"]: entry["trialJobNumber"] for entry in answer}

    def stop(self) -> None:
        """Stops the experiment as ``nnictl stop`` does, and waits until its manager is gone.

        Raises:
            SessionError: it is still there after a minute.
        """
        stopped = _nnictl("stop", self.id)
        end = time.monotonic() + _STOP_S
        while _connects(self.host, self.port):
            if time.monotonic() > end:
                raise SessionError(
                    f"experiment {self.id} did not stop ({_last_words(stopped)}); "
                    f"try: nnictl stop {self.id}"
                )
            time.sleep(0.3)

    def logged_error(self) -> str:
        """The last error line of the tuner's log, where NNI doesn't say what happened."""
        try:
            text = (self.folder / "log" / "dispatcher.log").read_text(errors="replace")
        except OSError:
            return ""
        errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Exhausted): .+$", text, re.M)
        return errors[-1] if errors else ""


def _nnictl(
    *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Its output, with what goes to stderr. Ctrl-C is for this process, which stops in order."""
    return subprocess.run(
        [*_NNICTL, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        check=False,
    )


def _launch(
    words: Sequence[str], env: Mapping[str, str], wanted: int | None, count: int
) -> tuple[int, subprocess.CompletedProcess[str]]:
    """The port and what nnictl said; a second attempt if the machine was too busy for the first.

    Args:
        words: ``create`` or ``resume`` with its arguments.
        env: the manager's environment.
        wanted: the port to use, None for a free one.
        count: number of ports in a row that must be free.

    Raises:
        SessionError: a busy port, or what nnictl answered.
    """
    for attempt in (1, 2):
        port = free_port(wanted, count)
        started = _nnictl(*words, "--port", str(port), env=env)
        if not started.returncode:
            return port, started
        if attempt == 2 or not _LATE.search(_last_words(started)):
            break
        _nnictl("stop", "--port", str(port))
    raise SessionError(f"nnictl could not start the experiment: {_last_words(started)}")


def _wait_for_profile(base: str, seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            return manager.get(base, "/experiment")
        if time.monotonic() > end:
            return None
        time.sleep(0.3)


def _settings(config: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    return settings


def _platform(config: Path) -> str:
    """``local`` or the first other training service that the config names."""
    services = _settings(config).get("trainingService") or {}
    services = services if isinstance(services, list) else [services]
    names = [str(s.get("platform", "local")) for s in services]
    return next((name for name in names if name != "local"), "local")


def _plain(text: str) -> str:
    """What nnictl printed, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m|\$\{\w+\}", "", text)


def _last_words(process: subprocess.CompletedProcess[str]) -> str:
    """The line of nnictl's output that says what is wrong, without colours."""
    lines = [line.strip() for line in _plain(process.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|invalid|failed", line, re.I)]
    return (telling or lines or ["no output"])[-1]
