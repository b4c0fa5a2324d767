"""The processes of an experiment, and how to end them: exactly these and no other.

What a start brings into being carries a mark in its environment: nnictl, NNI's manager, the tuner,
the trials.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import psutil

__all__ = [
    "MARK",
    "cpu_seconds",
    "end",
    "is_connected",
    "is_suspended",
    "kill",
    "managers",
    "marked",
    "of_trial",
    "ports_that_tuners_look_for",
    "tuners",
    "undisturbed",
]

MARK = "JOINT_GA_START"
"""Environment variable with the mark."""

_LOOK_S = 0.2
_KILL_S = 5.0


def marked(mark: str) -> list[psutil.Process]:
    """The processes that carry this mark, but not this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def of_trial(mark: str, trial: str) -> list[psutil.Process]:
    """The processes of one of NNI's trials, among those that carry this mark."""
    found = []
    for process in marked(mark):
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("NNI_TRIAL_JOB_ID") == trial:
                found.append(process)
    return found


def end(mark: str, patience: float = 0.0) -> int:
    """Ends the processes that carry this mark. Signals wait until that is done.

    Args:
        mark: of a start; an empty one names nothing.
        patience: seconds in which they may leave by themselves first.

    Returns:
        Number of processes that were ended.
    """
    if not mark:
        return 0
    with undisturbed():
        deadline = time.monotonic() + patience
        while (left := marked(mark)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        ended = {process.pid for process in left}
        _send(left, kill=False)
        deadline = time.monotonic() + _KILL_S
        while (left := marked(mark)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        # One that was forked while the others were looked for shows up in the next look.
        while left := marked(mark):
            ended |= {process.pid for process in left}
            _send(left, kill=True)
            psutil.wait_procs(left, timeout=_KILL_S)
        return len(ended)


def _send(processes: list[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill() if kill else process.terminate()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP change nothing in here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, signal.SIG_IGN) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def tuners(folder: Path) -> list[int]:
    """Processes that NNI started as the tuner of the experiment in this folder."""
    mine = folder.resolve()
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            told = process.environ()
            log = told.get("NNI_LOG_DIRECTORY", "")
            is_tuner = "--exp_params" in process.cmdline()
            if is_tuner and log and Path(log).resolve().is_relative_to(mine):
                found.append(process.pid)
    return found


def ports_that_tuners_look_for() -> set[int]:
    """Ports of the managers of all tuners, of managers that were killed, too.

    Such a tuner looks for its manager for ten seconds and more, and takes whichever it finds.
    """
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if "--exp_params" in process.cmdline():
                channel = process.environ().get("NNI_TUNER_COMMAND_CHANNEL", "")
                if (port := urlsplit(channel).port) is not None:
                    found.add(port)
    return found


def managers(experiment: str) -> list[int]:
    """Processes of NNI's manager of this experiment: usually one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            named = any(pair == ("--experiment-id", experiment) for pair in pairwise(words))
            if named and any(word.endswith("main.js") for word in words):
                found.append(process.pid)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that these processes have used so far."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            used = psutil.Process(pid).cpu_times()
            total += used.user + used.system
    return total


def is_suspended(pid: int) -> bool:
    """Whether this process was stopped (SIGSTOP) and does not go on."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def kill(pids: Iterable[int]) -> None:
    """Ends these processes at once."""
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).kill()


def is_connected(pid: int, port: int) -> bool:
    """Whether this process has a connection to ``port``."""
    with contextlib.suppress(psutil.Error):
        return any(
            link.status == psutil.CONN_ESTABLISHED and link.raddr and link.raddr[1] == port
            for link in psutil.Process(pid).net_connections("tcp")
        )
    return False
