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
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["MARK", "end", "is_connected", "marked", "tuners", "undisturbed"]

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


def is_connected(pid: int, port: int) -> bool:
    """Whether this process has a connection to ``port``."""
    with contextlib.suppress(psutil.Error):
        return any(
            link.status == psutil.CONN_ESTABLISHED and link.raddr and link.raddr[1] == port
            for link in psutil.Process(pid).net_connections("tcp")
        )
    return False
