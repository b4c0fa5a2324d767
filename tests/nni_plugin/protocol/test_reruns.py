"""Trials that the manager runs again, asked of a real web server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from nni_plugin.protocol.reruns import Reruns

ODD: list[Any] = [["5"], ["null"], ["{"], [None], ["[]"], ['{"parameters": 3}'], ["{}"], [], None]
RIGHT = [json.dumps({"parameter_id": 1, "parameters": {"x": 1, "uid": 4}})]


class Manager(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        jobs = [
            {"trialJobId": f"t{n}", "status": "WAITING", "hyperParameters": parameters}
            for n, parameters in enumerate([*ODD, RIGHT])
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(jobs).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Manager)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_trials_without_a_number_are_passed_over(url: str) -> None:
    assert Reruns(url, [3, 4]).uids == {4}
