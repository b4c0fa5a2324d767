"""Who may talk to NNI's manager: this machine, and from elsewhere whoever has the token.

The manager itself has no login and runs what it is sent. ``assets/access_token.cjs`` asks for the
token there; what is made, kept and shown of it is here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
from pathlib import Path

__all__ = ["EVERYWHERE", "FILE_NAME", "is_open", "keep_token", "shown_host", "token_for"]

FILE_NAME = "manager_token"
"""In the experiment's folder, for its owner alone. NNI serves ``log/`` only."""

EVERYWHERE = ("0.0.0.0", "::", "*")
"""Hosts that mean every interface."""

_ELSEWHERE = ("192.0.2.1", 9)
"""An address for documentation (RFC 5737): nothing is ever sent there."""


def is_open(host: str) -> bool:
    """Whether a manager that listens there can be reached from another machine.

    Args:
        host: as given to ``--host``; a name that is not ``localhost`` counts as open.
    """
    with contextlib.suppress(ValueError):
        return not ipaddress.ip_address(host).is_loopback
    return host != "localhost"


def token_for(host: str, folder: Path | None = None) -> str:
    """What other machines must bring; empty if the manager listens on this machine only.

    Args:
        host: as given to ``--host``.
        folder: of an experiment that goes on. The token of its earlier start is taken again, so
            that the address stays good.
    """
    if not is_open(host):
        return ""
    if folder is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return (folder / FILE_NAME).read_text(encoding="ascii").strip() or _made()
    return _made()


def _made() -> str:
    return secrets.token_urlsafe(32)


def keep_token(folder: Path, token: str) -> Path:
    """Writes the token down for the owner alone, and returns the file.

    Args:
        folder: the experiment's own.
        token: as its manager asks for it.

    Raises:
        OSError: it can't be written.
    """
    path = folder / FILE_NAME
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
    return path


def shown_host(host: str) -> str:
    """The address that a browser elsewhere uses, as it stands in a URL.

    Args:
        host: as given to ``--host``; of every interface it is the one towards the network.
    """
    if host in EVERYWHERE:
        host = "127.0.0.1"
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect(_ELSEWHERE)
            host = str(way.getsockname()[0])
    return f"[{host}]" if ":" in host else host
