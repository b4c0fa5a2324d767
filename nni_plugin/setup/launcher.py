"""Starts an NNI experiment the safe way, follows it, and stops it: what ``joint-ga run`` does.

What plain ``nnictl create`` leaves to the user: trials find nnictl's own interpreter, the manager
listens on 127.0.0.1 only, a free port is chosen.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from nni_plugin.protocol import manager
from nni_plugin.protocol.json_types import Settings
from nni_plugin.setup import manager_access, processes
from nni_plugin.setup.manager_environment import environment
from nni_plugin.setup.ports import Say, SessionError, free_port, locked_ports

__all__ = ["Session", "SessionError", "environment", "free_port"]

_NNICTL = (sys.executable, "-m", "nni.tools.nnictl.nnictl")
_START = (sys.executable, "-m", "nni_plugin.setup.nnictl")
_STOP_S = 60.0
_LEAVE_S = 10.0
_CREATED = re.compile(r"Experiment ID: (\w+)")
_PAUSES_S = (2.0, 10.0, 30.0)
"""Between one attempt to start and the next."""
_LATE = re.compile(
    r"JSONDecodeError|ConnectionError|Max retries|Restful server start failed|timed? ?out"
    r"|ended at its start|is not idle|did not connect|500 Server Error", re.I,
)  # fmt: skip
"""What is said when the machine was too busy, or the port was taken at the same moment."""
_TUNER_S = 200.0
"""The manager gives its tuner 180 s (``assets/tuner_patience.cjs``)."""


def _tell(text: str) -> None:
    print(f"joint-ga: {text}", file=sys.stderr)


@dataclass
class Session:
    """A started experiment.

    Attributes:
        id: NNI's experiment id.
        folder: the experiment's folder (``log/``, ``checkpoint/``, ``db/``).
        host: the address a browser uses.
        port: of the web UI.
        trials: ``maxTrialNumber``, None for no limit.
        mark: carried by every process that this start brought into being.
        token: what a browser elsewhere must bring; empty if the manager listens here only.
    """

    id: str
    folder: Path
    host: str
    port: int
    trials: int | None = None
    mark: str = ""
    token: str = ""

    @property
    def url(self) -> str:
        """The manager's address for this machine, which needs no token."""
        return f"http://127.0.0.1:{self.port}"

    def link(self, path: str = "") -> str:
        """Address of NNI's web UI, or of another page, for a browser wherever it may be.

        Args:
            path: begins with a slash.
        """
        if not self.token:
            return f"http://{self.host}:{self.port}{path}"
        return f"http://{self.host}:{self.port}{path or '/'}?token={self.token}"

    @classmethod
    def start(
        cls,
        config: Path,
        host: str = "127.0.0.1",
        port: int | None = None,
        say: Say = _tell,
    ) -> Session:
        """Runs ``nnictl create`` and waits until the tuner is there.

        Args:
            config: NNI's config file.
            host: the address to listen on. Beyond this machine a token is asked for; it is kept in
                the experiment's folder.
            port: of the web UI, None for a free one.
            say: told what it waits for and why it tries again, a sentence at a time.

        Raises:
            SessionError: a busy port, a remote service on 127.0.0.1, or what nnictl answered.
        """
        service = _platform(config)
        if service != "local" and not manager_access.is_open(host):
            raise SessionError(
                f"the {service!r} training service needs a manager that its machines can reach, "
                f"and this one would listen on {host} only: give --host with an address of a "
                "trusted network (a token will be asked for there)"
            )
        manager_ip = _settings(config).get("nniManagerIp")
        token = manager_access.token_for(host)
        env = environment(host, [str(manager_ip)] if manager_ip else [], token)
        words = ("create", "--config", str(config))
        return cls._begin(words, env, host, port, 1 if service == "local" else 2, say)

    @classmethod
    def resume(
        cls,
        experiment: str,
        folder: Path,
        host: str = "127.0.0.1",
        port: int | None = None,
        say: Say = _tell,
    ) -> Session:
        """Runs ``nnictl resume`` and waits until the tuner is there again.

        Nothing of an earlier run may be left: see ``nni_plugin.setup.left_over``.

        Args:
            experiment: NNI's id.
            folder: its ``experimentWorkingDirectory``.
            host: as for ``start``.
            port: as for ``start``.
            say: as for ``start``.

        Raises:
            SessionError: a busy port, or what nnictl answered.
        """
        words = ("resume", experiment, "--experiment_dir", str(folder))
        token = manager_access.token_for(host, folder / experiment)
        return cls._begin(words, environment(host, token=token), host, port, 2, say)

    @classmethod
    def _begin(
        cls,
        words: Sequence[str],
        env: Mapping[str, str],
        host: str,
        wanted: int | None,
        count: int,
        say: Say,
    ) -> Session:
        """Starts it, again if the machine is too busy; leaves nothing running if it can't.

        Args:
            words: ``create`` or ``resume`` with its arguments.
            env: the manager's environment.
            host: the address to listen on.
            wanted: the port to use, None for a free one.
            count: number of ports in a row that must be free.
            say: told why it tries again.
        """
        mark = env[processes.MARK]
        shown = manager_access.shown_host(host)
        try:
            for pause in (*_PAUSES_S, None):
                try:
                    return cls._once(words, env, shown, wanted, count, say)
                except SessionError as error:
                    if not _LATE.search(str(error)):
                        raise
                    processes.end(mark)
                    load = (
                        f"load of this machine: {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs"
                    )
                    if pause is None:
                        raise SessionError(
                            f"NNI did not start in {len(_PAUSES_S) + 1} attempts ({load}); the "
                            f"last one: {error}; start again when the machine is less busy"
                        ) from error
                    say(f"NNI did not start ({error}; {load}): trying again in {pause:.0f} s.")
                time.sleep(pause)
            raise AssertionError("the last attempt returns or raises")
        except BaseException as error:
            processes.end(mark)
            if not isinstance(error, Exception):
                # The terminal may be the thing that is gone.
                with contextlib.suppress(OSError):
                    say("stopped while NNI was starting; nothing of it is left running.")
            raise

    @classmethod
    def _once(
        cls,
        words: Sequence[str],
        env: Mapping[str, str],
        host: str,
        wanted: int | None,
        count: int,
        say: Say,
    ) -> Session:
        # Of two managers on one port the second dies.
        with locked_ports(say):
            port = free_port(wanted, count)
            started = _run([*_START, *words, "--port", str(port)], env)
        if started.returncode:
            raise SessionError(f"nnictl could not start the experiment: {_last_words(started)}")
        base = f"http://127.0.0.1:{port}"
        profile = _wait_for_profile(base)
        if profile is None:
            raise SessionError(f"NNI's manager timed out: {_last_words(started)}")
        created = _CREATED.search(_plain(started.stdout))
        expected = created[1] if created else profile["id"]
        if expected != profile["id"]:
            raise SessionError(
                f"port {port} is not idle: the experiment {profile['id']} took it at the same "
                "moment; start again, or choose another port (--port N)"
            )
        parameters: Settings = profile["params"]
        home = parameters.get("experimentWorkingDirectory") or Path.home() / "nni-experiments"
        folder = Path(home) / profile["id"]
        session = cls(
            profile["id"],
            folder,
            host,
            port,
            parameters.get("maxTrialNumber"),
            env[processes.MARK],
            env["JOINT_GA_TOKEN"],
        )
        if session.token:
            manager_access.keep_token(folder, session.token)
        session._wait_for_tuner()
        return session

    def _wait_for_tuner(self) -> None:
        """Returns once it is connected, or has ended: NNI's status tells the latter.

        Raises:
            SessionError: it has not connected in the time that the manager gives it.
        """
        deadline = time.monotonic() + _TUNER_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                status, errors = self.status()
                late = [error for error in errors if "did not connect" in error]
                if late:
                    raise SessionError(late[0])
                if status in manager.EXPERIMENT_ENDED:
                    return
            if any(processes.is_connected(pid, self.port) for pid in self.tuners()):
                return
            time.sleep(0.5)

    def tuners(self) -> list[int]:
        """Process ids of its tuner: usually one, none if it has ended."""
        return processes.tuners(self.folder)

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

    def running_trials(self) -> list[str]:
        """NNI's ids of the trials that it has started and that have not ended.

        Raises:
            OSError: the manager is gone.
        """
        return [job["trialJobId"] for job in manager.get(self.url, "/trial-jobs?status=RUNNING")]

    def stop(self) -> None:
        """Stops the experiment as ``nnictl stop`` does, and waits until nothing of it runs.

        What does not stop by itself is ended, which is what an interrupt in here comes to as well.

        Raises:
            SessionError: its manager is still there after a minute.
        """
        try:
            # NNI would wait for them.
            processes.kill(pid for pid in self.tuners() if processes.is_suspended(pid))
            stopped = _run([*_NNICTL, "stop", self.id])
            end = time.monotonic() + _STOP_S
            # Not whether its port answers: another experiment may have that by now.
            while processes.managers(self.id) and time.monotonic() < end:
                time.sleep(0.3)
        except BaseException:
            processes.end(self.mark)
            raise
        processes.end(self.mark, patience=_LEAVE_S)
        if processes.managers(self.id):
            raise SessionError(
                f"experiment {self.id} did not stop ({_last_words(stopped)}); "
                f"try: nnictl stop {self.id}"
            )

    def end(self) -> None:
        """Ends all that is left of it, for a manager that can't be asked to stop any more."""
        processes.end(self.mark)

    def logged_error(self) -> str:
        """The last error line of the tuner's log, where NNI doesn't say what happened."""
        try:
            text = (self.folder / "log" / "dispatcher.log").read_text(errors="replace")
        except OSError:
            return ""
        errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Exhausted): .+$", text, re.M)
        return errors[-1] if errors else ""


def _run(
    command: Sequence[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Its output, with what goes to stderr. Ctrl-C is for this process, which stops in order."""
    return subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        check=False,
    )


def _wait_for_profile(base: str, seconds: float = 60.0) -> Settings | None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            profile: Settings = manager.get(base, "/experiment")
            return profile
        if time.monotonic() > end:
            return None
        time.sleep(0.3)


def _settings(config: Path) -> Settings:
    settings: Settings = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
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
