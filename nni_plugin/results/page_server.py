"""A small web server on 127.0.0.1 that shows an experiment's live page (``joint-ga watch``)."""

from __future__ import annotations

import errno
import functools
import http.server
import io
import re
from pathlib import Path
from typing import BinaryIO

__all__ = ["LogHandler", "serve_folder"]

# More digits than a file has bytes are refused by the pattern: Python's own limit would raise.
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_HOST = re.compile(r"(localhost|[\d.]+|\[[\da-f:]+\])(:\d+)?", re.I)
"""An address, or this machine as it calls itself; any port, since SSH may forward another."""


class LogHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, byte ranges included: the page fetches only what its data files gained."""

    def send_head(self) -> BinaryIO | io.BytesIO | None:
        """Answers a Range request with 206 and that part; anything else as the base class does.

        A name that is not this machine's own may have been bound to 127.0.0.1 by a stranger, whose
        page could then read the data (DNS rebinding): such a request is refused.
        """
        host = self.headers.get("Host", "")
        if not _HOST.fullmatch(host):
            reason = "the Host header names another machine: open the printed address"
            self.send_error(http.HTTPStatus.FORBIDDEN, explain=reason)
            return None
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if match is None or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        start = int(match[1])
        stop = min(int(match[2]) + 1 if match[2] else size, size)
        if start >= stop:
            self.send_error(http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return None
        self.send_response(http.HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        with path.open("rb") as stream:
            stream.seek(start)
            return io.BytesIO(stream.read(stop - start))

    def end_headers(self) -> None:
        """Data changes all the time: nothing may be cached."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal free of one line per poll."""


def serve_folder(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server for ``folder`` bound to 127.0.0.1; ``port`` 0 picks a free one. Not started yet.

    Raises:
        OSError: the port is in use; the message says how to choose another.
    """
    folder.stat()
    handler = functools.partial(LogHandler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {port} is in use: choose another (--port N) or leave --port out"
            ) from error
        raise
