"""Which port an experiment gets: a free one, and never the same for two starts at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nni_plugin.setup import processes

__all__ = ["Say", "SessionError", "free_port", "locked_ports"]

_FIRST_PORT = 8080
_PORTS = Path(tempfile.gettempdir()) / f"joint-ga-ports-{os.getuid()}.lock"
"""Locked from the choice of a port until its manager listens, in whichever home."""
_LOCK_S = 600.0
_WORD_AFTER_S = 5.0

Say = Callable[[str], None]


class SessionError(RuntimeError):
    """NNI could not be started or stopped; the message holds what NNI said."""


def _is_taken(port: int) -> bool:
    """Whether somebody listens on it; a connection could time out on a busy machine."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                # Without IPv6 there is nobody to listen there.
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return True
    return False


def free_port(wanted: int | None = None, count: int = 1) -> int:
    """A port on which, and on the ``count - 1`` following ones, nobody listens.

    Nor does any tuner look for its manager there: it would take the new one for its own, and get
    the messages that are meant for the new manager's tuner.

    Args:
        wanted: this port or none; without it the first free one from 8080 on.
        count: NNI's remote services need two in a row.

    Raises:
        SessionError: ``wanted`` is in use or no valid port, or 100 ports in a row are in use.
    """
    if wanted is not None and not 1 <= wanted <= 65535:
        raise SessionError(f"port {wanted} is not a port (1 to 65535)")
    candidates = [wanted] if wanted else range(_FIRST_PORT, _FIRST_PORT + 100)
    looked_for = processes.ports_that_tuners_look_for()
    for port in candidates:
        if port not in looked_for and not any(_is_taken(port + i) for i in range(count)):
            return port
    if wanted:
        raise SessionError(
            f"port {wanted} is in use: choose another (--port N) or leave --port out and a free "
            "one is taken; 'nnictl experiment list' shows experiments that still hold one"
        )
    raise SessionError(f"no free port from {_FIRST_PORT} to {_FIRST_PORT + 99}: give --port N")


@contextlib.contextmanager
def locked_ports(say: Say) -> Iterator[None]:
    """One start of this user at a time; freed if a process dies."""
    begin = time.monotonic()
    with _PORTS.open("a") as handle:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - begin
            if waited > _LOCK_S:
                raise SessionError(
                    f"another start has held {_PORTS} for {waited:.0f} s: end it ('fuser {_PORTS}' "
                    "names its process), then start again"
                )
            if waited > _WORD_AFTER_S and not told:
                told = True
                say(f"waiting for another start to choose its port (it holds {_PORTS}).")
            time.sleep(0.1)
        yield
