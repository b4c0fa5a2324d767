"""Attacks on NNI's manager from web pages, made for real, and what must pass."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_plugin.setup import launcher
from support.nni_experiment import NniExperiment

pytestmark = pytest.mark.nni
EVIL = "http://evil.example"
ADD_TRIAL = '{"hyperParameters": "{}"}'


class Manager:
    """Requests to a manager with whatever headers an attacker has."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder

    def request(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Host": f"127.0.0.1:{self.port}", **named})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def upgrade(self, path: str, **headers: str) -> str:
        """The status line of the answer to a WebSocket handshake."""
        lines = {
            "Host": f"127.0.0.1:{self.port}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            return connection.recv(4096).decode(errors="replace").splitlines()[0]

    def trials(self) -> int:
        status, text = self.request("GET", "/api/v1/nni/trial-jobs")
        assert status == 200, text
        return len(json.loads(text))


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """A manager as ``joint-ga run`` starts it, with one trial that waits."""
    experiment = NniExperiment(tmp_path_factory.mktemp("guarded"))
    guard = launcher.environment("127.0.0.1", ["board-host.lan"])
    names = ("NODE_OPTIONS", "JOINT_GA_HOST", "JOINT_GA_NAMES", "JOINT_GA_NODE_OPTIONS")
    experiment.environment.update({name: guard[name] for name in names})
    try:
        experiment.create(experiment.config(body="time.sleep(600)"))
        experiment.wait_for(lambda: len(experiment.trials()) == 1)
        yield Manager(experiment.port, experiment.folder)
    finally:
        experiment.close()


def test_dns_rebinding_is_refused(manager: Manager) -> None:
    """A name that a stranger bound to 127.0.0.1: the page reads and posts as its own origin."""
    target = manager.folder / "pwned"
    pickled = base64.b64encode(f"cos\nmkdir\n(S'{target}'\ntR.".encode()).decode()
    body = json.dumps([{"parameter": {"x": {"__nni_type__": f"bytes:{pickled}"}}, "value": 1}])
    host = f"evil.example:{manager.port}"
    headers = {"Host": host, "Origin": f"http://{host}", "Content_Type": "application/json"}
    for method, path in (("GET", "/"), ("POST", "/api/v1/nni/experiment/import-data")):
        status, text = manager.request(method, path, body, **headers)
        assert (status, "evil.example" in text) == (403, True), text
    assert not target.exists()


@pytest.mark.parametrize("path", ["/tuner", "/platform/x"])
def test_a_foreign_pages_web_socket_is_refused(manager: Manager, path: str) -> None:
    assert " 403 " in manager.upgrade(path, Origin=EVIL)
    assert " 403 " in manager.upgrade(path, Host=f"evil.example:{manager.port}")


def test_a_foreign_page_cannot_post(manager: Manager) -> None:
    before = manager.trials()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        status, text = manager.request(
            "POST", "/api/v1/nni/trial-jobs", ADD_TRIAL, **({"Content_Type": kind} if kind else {})
        )
        assert (status, "application/json" in text) == (415, True), text
    status, _ = manager.request(
        "POST", "/api/v1/nni/trial-jobs", ADD_TRIAL, Content_Type="application/json", Origin=EVIL
    )
    assert status == 403
    assert manager.trials() == before


def test_a_foreign_pages_image_is_refused(manager: Manager) -> None:
    image = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    assert manager.request("GET", "/netron/x")[0] == 403
    assert manager.request("GET", "/api/v1/nni/experiment", **image)[0] == 403
    # Another port of this machine is another page as well.
    image["Sec_Fetch_Site"] = "same-site"
    assert manager.request("GET", "/api/v1/nni/experiment", **image)[0] == 403
    assert manager.request("GET", "/api/v1/nni/check-status")[0] == 200


@pytest.mark.parametrize(
    "host", ["localhost:9000", "127.0.0.1", "[::1]:7", "192.168.3.4:8080", "board-host.lan:8080"]
)
def test_what_is_meant_passes(manager: Manager, host: str) -> None:
    """A port forwarded by SSH, an address of ``--host``, ``nniManagerIp``."""
    status, _ = manager.request("GET", "/api/v1/nni/check-status", Host=host)
    assert status == 200
    page = {"Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
    status, _ = manager.request("GET", "/api/v1/nni/trial-jobs", Host=host, **page)
    assert status == 200


def test_a_link_to_the_ui_passes(manager: Manager) -> None:
    link = {
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Mode": "navigate",
        "Sec_Fetch_Dest": "document",
    }
    assert manager.request("GET", "/oview", **link)[0] == 200
