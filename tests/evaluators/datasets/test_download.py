"""Fetching, against a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evaluators.datasets import cifar10
from evaluators.datasets.cifar10 import load_cifar10
from evaluators.datasets.download import checksum, fetch
from evaluators.training import DataError

CONTENT = b"archive" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        if self.path != "/cut.bin":
            return super().do_GET()
        # Announces the whole file, then hangs up half way.
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "whole.bin").write_bytes(CONTENT)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    httpd.requests = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def url(server: ThreadingHTTPServer, name: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


def test_fetches_once(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "whole.bin"
    for _ in range(2):
        assert fetch(url(server, "whole.bin"), target, SHA256).read_bytes() == CONTENT
    assert len(server.requests) == 1  # type: ignore[attr-defined]
    assert checksum(target) == SHA256


def test_a_damaged_file_is_fetched_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = tmp_path / "whole.bin"
    target.write_bytes(CONTENT[:100])
    assert fetch(url(server, "whole.bin"), target, SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["cut.bin", "whole.bin"])
def test_wrong_bytes_leave_nothing_behind(
    server: ThreadingHTTPServer, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "cache" / "file.bin"
    expected = SHA256 if name == "cut.bin" else "0" * 64
    with pytest.raises(DataError, match="cut off"):
        fetch(url(server, name), target, expected)
    assert [p for p in target.parent.iterdir() if not p.name.endswith(".lock")] == []


def test_no_server_says_what_to_do(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"404.*--data"):
        fetch(url(server, "missing.bin"), tmp_path / "file.bin", SHA256)
    with pytest.raises(DataError, match=r"Without a network.*--data"):
        fetch("http://127.0.0.1:9/x", tmp_path / "file.bin", SHA256, timeout_s=5)


def test_cifar10_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz can't be fetched.*--data"):
        load_cifar10()
