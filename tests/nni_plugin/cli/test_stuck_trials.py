"""What ``joint-ga run`` does about trials that do not end or start; NNI is a small web server."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nni_plugin.cli.stuck_trials import GIVE_UP_IDLE_S, PATIENCE_S, SAY_IDLE_S, StuckTrials
from nni_plugin.protocol.limits import Limits
from nni_plugin.setup.launcher import Session
from nni_plugin.setup.processes import MARK


class Nni:
    """A manager that has these trials running, and what it is told."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.cancelled: list[str] = []
        self.ends_them = True


@pytest.fixture
def nni() -> Nni:
    return Nni()


@pytest.fixture
def session(nni: Nni, tmp_path: Path) -> Iterator[Session]:
    class Manager(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v1/nni/trial-jobs?status=RUNNING"
            self.answer(json.dumps([{"trialJobId": trial} for trial in nni.running]))

        def do_DELETE(self) -> None:
            nni.cancelled.append(self.path.rpartition("/")[2])
            if nni.ends_them:
                nni.running.remove(nni.cancelled[-1])
            self.answer("")

        def answer(self, text: str) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Manager)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Session("exp", tmp_path, "127.0.0.1", server.server_port, mark="stuck-trials-test")
    server.shutdown()
    server.server_close()


class Watched(StuckTrials):
    """With a clock that the test moves."""

    def __init__(self, session: Session) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        super().__init__(session, self.said.append, lambda: self.now)

    def after(self, seconds: float, finished: int = 0) -> str | None:
        self.now += seconds
        return self.look(finished)


def test_a_trial_over_its_limit_is_ended_with_all_it_started(
    nni: Nni, session: Session, tmp_path: Path
) -> None:
    Limits(60, "trial_limits.seconds").write(tmp_path / "log")
    nni.running = ["a"]
    environment = {**os.environ, MARK: session.mark, "NNI_TRIAL_JOB_ID": "a"}
    code = "import time; time.sleep(60)"
    left = [
        subprocess.Popen(
            [sys.executable, "-c", code], env={**environment, "NNI_TRIAL_JOB_ID": trial}
        )
        for trial in ("a", "b")
    ]
    try:
        watched = Watched(session)
        assert watched.after(0) is None
        nni.running = ["a", "b"]
        assert watched.after(60 + PATIENCE_S) is None
        assert nni.cancelled == []
        assert watched.after(11) is None
        assert nni.cancelled == ["a"]
        assert watched.said == [
            "Trial a is over its limit of 60 s (trial_limits.seconds): it is ended."
        ]
        assert left[0].wait(20) != 0
        assert left[1].poll() is None
        assert watched.after(2 * PATIENCE_S) is None
    finally:
        for process in left:
            process.kill()
            process.wait()


def test_a_trial_that_cannot_be_ended_is_not_waited_for(
    nni: Nni, session: Session, tmp_path: Path
) -> None:
    Limits(60, "maxTrialDuration").write(tmp_path / "log")
    nni.running, nni.ends_them = ["a"], False
    watched = Watched(session)
    assert watched.after(0) is None
    assert watched.after(60 + PATIENCE_S + 1) is None
    assert watched.after(PATIENCE_S + 1) == (
        "trial a is over its limit of 60 s (maxTrialDuration) and can't be ended"
    )
    assert nni.cancelled == ["a"]


def test_without_a_limit_a_trial_may_run_for_days(
    nni: Nni, session: Session, tmp_path: Path
) -> None:
    Limits().write(tmp_path / "log")
    nni.running = ["a"]
    watched = Watched(session)
    assert watched.after(0) is None
    assert watched.after(1e6) is None
    assert (nni.cancelled, watched.said) == ([], [])


def test_trials_that_never_start_are_said_and_then_given_up(nni: Nni, session: Session) -> None:
    watched = Watched(session)
    assert watched.after(SAY_IDLE_S - 20) is None
    # Trials too short to be seen at work: their number grows.
    assert watched.after(SAY_IDLE_S - 20, finished=3) is None
    assert watched.said == []
    assert watched.after(SAY_IDLE_S + 1, finished=3) is None
    assert watched.after(11, finished=3) is None
    (said,) = watched.said
    assert "No trial has run for 5 minutes" in said
    assert str(session.folder / "log") in said
    assert watched.after(GIVE_UP_IDLE_S, finished=3) == "no trial has run for 65 minutes"


def test_a_trial_at_work_is_no_idleness(nni: Nni, session: Session) -> None:
    watched = Watched(session)
    nni.running = ["a"]
    for _ in range(4):
        assert watched.after(GIVE_UP_IDLE_S / 2) is None
    assert watched.said == []
