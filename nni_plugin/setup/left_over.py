"""What an earlier run of an experiment has left: its manager, its tuner.

A manager that was killed leaves its tuner behind. For ten seconds that tuner looks for the manager,
and for ten more it tries to report that there is none. A resume within that time gets the report
and ends as ERROR. So a resume waits until the old tuner is gone.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from nni_plugin.protocol import manager
from nni_plugin.setup.launcher import Session, SessionError
from nni_plugin.setup.manager_watch import ManagerWatch
from nni_plugin.setup.processes import managers, tuners

__all__ = ["LeftOver", "clear"]

_LOOK_S = 0.3
_PATIENCE_S = 40.0
"""NNI's dispatcher gives up after about 25 s; a busy machine takes longer."""
_WORKING = ("INITIALIZED", "RUNNING", "NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL", "STOPPING")


@dataclass(frozen=True)
class LeftOver:
    """What is still there of an experiment.

    Attributes:
        status: NNI's status if its manager answers, else None.
        url: address of that manager.
        tuners: process ids of its tuners, usually one.
    """

    status: str | None
    url: str
    tuners: tuple[int, ...]

    @property
    def is_working(self) -> bool:
        """Whether manager and tuner are both at work."""
        return self.status in _WORKING and bool(self.tuners)


def look(experiment: str, folder: Path) -> LeftOver:
    """What is there of an experiment now.

    Args:
        experiment: NNI's id.
        folder: the experiment's own folder.
    """
    port = _noted_port(experiment)
    status, url = None, ""
    if port is not None:
        url = f"http://127.0.0.1:{port}"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if manager.get(url, "/experiment")["id"] == experiment:
                status = str(manager.get(url, "/check-status")["status"])
    return LeftOver(status, url, tuple(tuners(folder)))


def clear(experiment: str, folder: Path, say: Callable[[str], None]) -> None:
    """End what is left of an experiment that is not at work, so that it can be resumed.

    A manager without a tuner, or in ERROR, is stopped; one that hangs is ended. A tuner without a
    manager is waited for. If it does not leave by itself it is ended: every line of its journal is
    on disk.

    Args:
        experiment: NNI's id.
        folder: the experiment's own folder.
        say: told what was found, a sentence at a time.

    Raises:
        SessionError: it is at work, or can't be ended.
    """
    _end_if_it_hangs(experiment, say)
    found = look(experiment, folder)
    if found.is_working:
        raise SessionError(
            f"experiment {experiment} is running ({found.status}) at {found.url}: nothing to "
            f"resume. To end it: nnictl stop {experiment}"
        )
    if found.status is not None:
        say(f"Its manager is still there ({found.status}, no search going on): stopping it.")
        host, _, port = found.url.removeprefix("http://").partition(":")
        Session(experiment, folder, host, int(port)).stop()
    old = tuners(folder)
    if not old:
        return
    say(f"Its old tuner (process {', '.join(map(str, old))}) is still there: waiting for it.")
    end = time.monotonic() + _PATIENCE_S
    while tuners(folder) and time.monotonic() < end:
        time.sleep(_LOOK_S)
    for pid in tuners(folder):
        say(f"The old tuner (process {pid}) does not leave by itself: ending it.")
        _end(pid)


def _end_if_it_hangs(experiment: str, say: Callable[[str], None]) -> None:
    port = _noted_port(experiment)
    if port is None or not managers(experiment):
        return
    watch = ManagerWatch(experiment)
    url = f"http://127.0.0.1:{port}"
    told = False
    while managers(experiment):
        try:
            manager.get(url, "/check-status")
            return
        except ValueError:
            return
        except OSError as error:
            # It may listen on another address; one that hangs still takes connections.
            if not isinstance(getattr(error, "reason", error), TimeoutError):
                return
        if watch.is_lost():
            break
        if not told:
            say(f"Its manager at {url} takes requests and does not answer: waiting for it.")
            told = True
        time.sleep(_LOOK_S)
    for pid in managers(experiment):
        say(f"Its manager (process {pid}) hangs: ending it.")
        _end(pid)


def _noted_port(experiment: str) -> int | None:
    """The port that NNI's list of experiments notes."""
    try:
        noted = Path.home() / "nni-experiments" / ".experiment"
        return int(json.loads(noted.read_text(encoding="utf-8"))[experiment]["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _end(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(5)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)
    except psutil.NoSuchProcess:
        return
    except psutil.Error as error:
        raise SessionError(f"process {pid} of the experiment can't be ended: {error}") from error
