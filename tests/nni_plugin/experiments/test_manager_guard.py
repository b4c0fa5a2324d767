"""Attacks on NNI's manager from web pages, made for real, and what must pass."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_plugin.setup import launcher
from support.http_requests import Requests, handshake
from support.nni_experiment import NniExperiment

pytestmark = pytest.mark.nni
EVIL = "http://evil.example"
ADD_TRIAL = '{"hyperParameters": "{}"}'


class Manager:
    """A manager of this machine, and requests to it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder
        self._send = Requests("127.0.0.1", port)

    def request(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, str]:
        answer = self._send(method, path, body, **headers)
        return answer.status, answer.text

    def upgrade(self, path: str, **headers: str) -> str:
        return handshake(self._send, path, **headers)

    def trials(self) -> int:
        status, text = self.request("GET", "/api/v1/nni/trial-jobs")
        assert status == 200, text
        return len(json.loads(text))


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """A manager as ``joint-ga run`` starts it, with one trial that waits."""
    experiment = NniExperiment(tmp_path_factory.mktemp("guarded"))
    experiment.guard(launcher.environment("127.0.0.1", ["board-host.lan"]))
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


def test_what_is_let_through_is_not_unpickled(manager: Manager) -> None:
    """From this machine, as ``nnictl experiment import`` and NNI's UI send it."""
    target = manager.folder / "unpickled"
    pickled = base64.b64encode(f"cos\nmkdir\n(S'{target}'\ntR.".encode()).decode()
    evil = {"__nni_type__": f"bytes:{pickled}"}
    kind = {"Content_Type": "application/json"}
    body = json.dumps([{"parameter": {"x": evil, "y": 1}, "value": {"default": evil, "size": 1}}])
    status, text = manager.request("POST", "/api/v1/nni/experiment/import-data", body, **kind)
    assert status == 200, text
    body = json.dumps({"hyperParameters": json.dumps({"parameters": {"x": evil, "y": 1}})})
    assert manager.request("POST", "/api/v1/nni/trial-jobs", body, **kind)[0] == 200
    log = next((manager.folder / "experiments").glob("[!_]*/log/dispatcher.log"))
    end = time.monotonic() + 60
    while "imported result left out" not in log.read_text() and not target.exists():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
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
