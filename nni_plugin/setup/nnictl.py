"""``nnictl create`` and ``nnictl resume`` with the patience that a busy machine needs.

NNI gives its manager about three seconds to answer, and takes any manager's answer on that port
for its own. Here it has two minutes, and must itself be the one that listens.
"""

from __future__ import annotations

import contextlib
import os
import time
from subprocess import Popen

import psutil
from nni.experiment import launcher, rest
from nni.tools.nnictl import nnictl

_ANSWER_S = 120.0
_REQUEST_S = 120
_LOOK_S = 0.2
_NICENESS = -10
"""Of the start, where that is allowed: root's."""


def main() -> None:
    """Runs the nnictl command that the arguments name."""
    managers: list[Popen[bytes]] = []
    start = launcher._start_rest_server

    def start_and_keep(arguments: launcher.NniManagerArgs, run_mode: object) -> Popen[bytes]:
        managers.append(start(arguments, run_mode))
        return managers[-1]

    def check(port: int, retry: int = 0, url_prefix: str | None = None) -> None:
        _wait_until_it_answers(managers[-1], port, url_prefix)

    launcher._start_rest_server = start_and_keep
    launcher._check_rest_server = check
    rest.timeout = _REQUEST_S
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(before, _NICENESS))
    try:
        nnictl.parse_args()
    finally:
        _calm(managers, before)


def _wait_until_it_answers(manager: Popen[bytes], port: int, url_prefix: str | None) -> None:
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        if manager.poll() is not None:
            raise RuntimeError(f"NNI's manager ended at its start (code {manager.returncode})")
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            if _listens(manager.pid, port):
                rest.get(port, "/check-status", url_prefix)
                return
        time.sleep(_LOOK_S)
    raise RuntimeError(f"NNI's manager timed out: no answer on port {port} in {_ANSWER_S:.0f} s")


def _listens(pid: int, port: int) -> bool:
    links = psutil.Process(pid).net_connections("tcp")
    return any(link.status == psutil.CONN_LISTEN and link.laddr[1] == port for link in links)


def _calm(managers: list[Popen[bytes]], niceness: int) -> None:
    """Trials inherit the manager's priority, and shall not come before a user's other work."""
    for manager in managers:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(manager.pid)
            for one in (process, *process.children(recursive=True)):
                one.nice(niceness)


if __name__ == "__main__":
    main()
