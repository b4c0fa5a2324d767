"""Why a trial ended, from the files and a manager's answers; the manager is a small web server."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_plugin.protocol.limits import Limits
from nni_plugin.protocol.lost_trials import why_failed

LIMITS = Limits(60, "maxTrialDuration")
ANSWERS = {
    "/trial-jobs/long": {"status": "USER_CANCELED", "startTime": 1000, "endTime": 62000},
    "/trial-jobs/short": {"status": "USER_CANCELED", "startTime": 1000, "endTime": 9000},
    "/trial-jobs/crash": {"status": "FAILED", "startTime": 1000, "endTime": 99000},
}


class Manager(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.removeprefix("/api/v1/nni")
        if path == "/trial-file/far/stderr":
            text = b"a warning\ntrial failed: ValueError: no such file\n\n"
        else:
            text = json.dumps(ANSWERS.get(path, {})).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Manager)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    channel = f"ws://127.0.0.1:{server.server_port}/tuner"
    monkeypatch.setenv("NNI_TUNER_COMMAND_CHANNEL", channel)
    yield
    server.shutdown()
    server.server_close()


def wrote(experiment: Path, trial: str, text: str) -> None:
    folder = experiment / "environments" / "local-env" / "trials" / trial
    folder.mkdir(parents=True)
    (folder / "trial.stderr").write_text(text)


@pytest.mark.parametrize(
    ("trial", "text", "reason"),
    [
        ("short", "trial failed: over its limit of 5 s (trial_limits.seconds)\n",
         "over its limit of 5 s (trial_limits.seconds)"),
        ("long", "12%\n", "over its limit of 60 s (maxTrialDuration)"),
        ("short", "", "the trial was killed or cancelled"),
        ("short", "12%\n", "the trial was killed or cancelled; its last line: 12%"),
        # It came to its end by itself, whatever nobody ended it for.
        ("crash", "Traceback\nKeyError: 'x'\n", "the trial failed: KeyError: 'x'"),
        ("crash", "\x1b[31mKeyError:\x1b[0m \x07'x'\x1b]0;title\x07\n \r\n",
         "the trial failed: KeyError: 'x'"),
        ("crash", " 10%\r 20%\r", "the trial failed: 20%"),
        ("crash", "", "the trial failed and wrote nothing to stderr"),
        ("far", None, "the trial failed: ValueError: no such file"),
        ("crash", "x" * 5000, f"the trial failed: {'x' * 300}"),
    ],
)  # fmt: skip
def test_reasons(manager: None, tmp_path: Path, trial: str, text: str | None, reason: str) -> None:
    if text is not None:
        wrote(tmp_path, trial, text)
    assert why_failed(trial, tmp_path, LIMITS) == reason


def test_without_a_manager_the_file_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    wrote(tmp_path, "t", "KeyError: 'x'\n")
    assert why_failed("t", tmp_path, LIMITS) == "the trial failed: KeyError: 'x'"
    assert "see its stderr" in why_failed(None, tmp_path, LIMITS)
