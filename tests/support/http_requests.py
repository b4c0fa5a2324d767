"""Requests with whatever headers an attacker, a browser or a script sends."""

from __future__ import annotations

import base64
import http.client
import os
import socket
from dataclasses import dataclass
from typing import NamedTuple

import psutil
import pytest


def own_address() -> str:
    """An address of this machine that isn't its loopback; requests to it come from it."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    pytest.skip("this machine has no address but its loopback")


class Answer(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Requests:
    """Requests to one server; an underscore in a header's name is a hyphen."""

    host: str
    port: int

    def __call__(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Host": f"{self.host}:{self.port}", **named})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            return Answer(
                answer.status, text, {name.lower(): value for name, value in answer.getheaders()}
            )
        finally:
            connection.close()


def handshake(server: Requests, path: str, **headers: str) -> str:
    """The status line of the answer to a WebSocket handshake."""
    lines = {
        "Host": f"{server.host}:{server.port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        return connection.recv(4096).decode(errors="replace").splitlines()[0]
