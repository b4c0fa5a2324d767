"""Marked processes are ended, and no others; ports are chosen one start at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import uuid

import pytest

from nni_plugin.setup import ports, processes

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
CHILD = "import subprocess, sys; print(flush=True); subprocess.run(['sleep', '60'])"


@pytest.fixture
def start():
    started = []

    def begin(mark, code):
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, processes.MARK: mark},
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        started[-1].stdout.readline()
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_carries_the_mark_is_ended_and_nothing_else(start):
    mark, other = uuid.uuid4().hex, uuid.uuid4().hex
    mine = [start(mark, CHILD), start(mark, STUBBORN + "; time.sleep(60)")]
    foreign = start(other, CHILD)
    before = signal.getsignal(signal.SIGINT)
    assert processes.end(mark) >= 2
    assert processes.marked(mark) == []
    for process in mine:
        process.wait(5)
    assert foreign.poll() is None
    assert processes.end("") == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_what_leaves_by_itself_is_given_the_time(start):
    mark = uuid.uuid4().hex
    leaving = start(mark, "import time; print(flush=True); time.sleep(1)")
    assert processes.end(mark, patience=20) == 0
    assert leaving.wait(5) == 0


def test_a_signal_waits_for_the_end():
    with processes.undisturbed():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        time.sleep(0.1)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_taken(host):
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ports.SessionError, match=f"port {port} is in use"):
            ports.free_port(port)
    assert ports.free_port(port) == port


def test_a_port_that_a_tuner_looks_for_is_taken():
    """A manager was killed, and its tuner would take the next one on that port for its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    channel = {"NNI_TUNER_COMMAND_CHANNEL": f"ws://localhost:{port}/tuner"}
    code = "import time; print(flush=True); time.sleep(600)"
    words = [sys.executable, "-c", code, "--exp_params", "e30="]
    with subprocess.Popen(words, env={**os.environ, **channel}, stdout=subprocess.PIPE) as tuner:
        try:
            tuner.stdout.readline()
            with pytest.raises(ports.SessionError, match=f"port {port} is in use"):
                ports.free_port(port)
        finally:
            tuner.kill()
    assert ports.free_port(port) == port


def test_a_lock_that_is_held_is_named(tmp_path, monkeypatch):
    lock = tmp_path / "ports.lock"
    monkeypatch.setattr(ports, "_PORTS", lock)
    monkeypatch.setattr(ports, "_LOCK_S", 1.0)
    monkeypatch.setattr(ports, "_WORD_AFTER_S", 0.3)
    told = []
    with lock.open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ports.SessionError, match=str(lock)), ports.locked_ports(told.append):
            pass
    assert len(told) == 1
    assert str(lock) in told[0]
    with ports.locked_ports(told.append):
        pass
    assert len(told) == 1
