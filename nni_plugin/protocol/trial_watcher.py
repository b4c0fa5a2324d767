"""Holds a trial to its limits: a small process beside it, started by the trial itself.

A thread of the trial could not: while native code holds Python's lock no other thread runs. The
watcher says on the trial's stderr what was too much, and ends it: first by a signal that makes it
leave with an exit code, since NNI takes a trial that a signal has killed for cancelled by the user,
then by one that nothing can ignore.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from nni_plugin.protocol.limits import FILE, Limits, manager_logs
from nni_plugin.protocol.process_memory import machine_mb, upper_bound_mb, used_mb

__all__ = ["ENGINE", "EXIT_SIGNAL", "Overrun", "start", "watch"]

EXIT_SIGNAL = signal.SIGRTMAX - 5 if hasattr(signal, "SIGRTMAX") else None
"""Leads to an exit code even in the midst of native code; elsewhere than on Linux there is none."""

ENGINE = "JOINT_GA_ENGINE"
"""Variable of a trial that an engine of ours runs, see ``nni_plugin.engines``."""

_LOOK_S = 0.5
_LIMITS_S = 20.0
_FAMILY_S = 5.0
_LEAVE_S = 3.0
# A choice: well above the manager's and the tuner's, which the kernel should spare.
_OOM_SCORE = "500"

_watcher: subprocess.Popen[bytes] | None = None


def start() -> None:
    """Has this process, a trial of NNI's, watched until it ends; a second call does nothing.

    Without a watcher the trial runs on all the same, after a line on stderr. Where an engine of
    ours runs the trial, the engine holds it to its limits, and there is none.
    """
    global _watcher
    if _watcher is not None or os.environ.get(ENGINE):
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    if EXIT_SIGNAL is not None:
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        # C's own function and none of Python's, which would wait for the main thread.
        libc.signal(EXIT_SIGNAL, ctypes.cast(libc._exit, ctypes.c_void_p))
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    try:
        _watcher = subprocess.Popen(
            # A file in the trial's folder may be called like a module that the watcher needs.
            [sys.executable, "-P", "-m", __name__, str(os.getpid())],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
    except OSError as error:
        print(
            f"warning: this trial has no limits, its watcher can't start: {error}", file=sys.stderr
        )


def watch(pid: int) -> str | None:
    """Watches a process until it ends, or is over a limit; then it is ended.

    Returns:
        Why it was ended; None if it ended by itself.
    """
    try:
        trial = psutil.Process(pid)
    except psutil.Error:
        return None
    # Not from when the process was made, which Linux tells by the second only.
    overrun = Overrun(trial, time.monotonic())
    # Ends at once when the trial does: nobody else holds the other end of this pipe.
    while _is_alive(trial):
        reason = overrun.reason()
        if reason is not None:
            _end(trial, reason)
            return reason
        if os.getppid() != pid or _is_closed(sys.stdin.fileno(), _LOOK_S):
            return None
    return None


class Overrun:
    """What a trial takes, against what it may.

    Args:
        trial: its process.
        begin: since when, by ``time.monotonic``.
        limits: tells those in force; None if it can't right now.
    """

    def __init__(
        self,
        trial: psutil.Process,
        begin: float,
        limits: Callable[[], Limits | None] | None = None,
    ) -> None:
        self._trial = trial
        self._begin = begin
        self._told = limits or _limits
        self._limits = Limits()
        self._machine_mb = machine_mb()
        self._family = [trial]
        self._next_limits = self._next_family = 0.0

    def reason(self) -> str | None:
        """Why it must end; None if it is within its limits."""
        now = time.monotonic()
        if now >= self._next_limits:
            self._limits = self._told() or self._limits
            self._next_limits = now + _LIMITS_S
        if now >= self._next_family:
            self._family = family(self._trial)
            self._next_family = now + _FAMILY_S
        limits = self._limits
        if limits.seconds is not None and now - self._begin > limits.seconds:
            return limits.over_time()
        most = limits.memory_on(self._machine_mb)
        if most is not None and upper_bound_mb(self._family) > most:
            used = used_mb(self._family)
            if used > most:
                return limits.over_memory(used, most)
        return None


def family(trial: psutil.Process) -> list[psutil.Process]:
    """A trial and the processes that it started, without the watcher."""
    with contextlib.suppress(psutil.Error):
        children = trial.children(recursive=True)
        return [trial, *(child for child in children if child.pid != os.getpid())]
    return [trial]


def _limits() -> Limits | None:
    """Those in force, from the tuner's file or, on another machine, from the manager."""
    logs = manager_logs()
    if logs is not None:
        return Limits.read(logs)
    # Imported here: it takes longer than all else of a watcher that doesn't need it.
    from nni_plugin.protocol import manager

    with contextlib.suppress(OSError, ValueError, KeyError):
        base = manager.trial_url()
        if base is not None:
            return Limits.of(manager.get_log(base, FILE.as_posix()))
    return None


def _end(trial: psutil.Process, reason: str) -> None:
    children = family(trial)[1:]
    print(f"\ntrial failed: {reason}", file=sys.stderr, flush=True)
    with contextlib.suppress(psutil.Error):
        if EXIT_SIGNAL is not None:
            trial.send_signal(EXIT_SIGNAL)
            _wait(trial)
        # A stopped process (SIGTSTP) hears no other signal.
        trial.kill()
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()


def _wait(trial: psutil.Process) -> None:
    deadline = time.monotonic() + _LEAVE_S
    while _is_alive(trial) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs; what has ended and was not yet asked for its exit code does not."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_closed(pipe: int, seconds: float) -> bool:
    """Whether the pipe's other end closes within so many seconds."""
    try:
        ready, _, _ = select.select([pipe], [], [], seconds)
    except OSError:  # Windows selects sockets only
        time.sleep(seconds)
        return False
    return bool(ready)


if __name__ == "__main__":
    # Ctrl-C is for the trial.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(int(sys.argv[1]))
