"""NNI's remote training service, with two SSH servers of this machine as the workers."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nni_plugin.setup import launcher
from support.http_requests import Requests, own_address

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")

pytestmark = [
    pytest.mark.nni,
    pytest.mark.slow,
    pytest.mark.skipif(SSHD is None, reason="no sshd here: apt-get install openssh-server"),
    pytest.mark.skipif(os.getuid() != 0, reason="sshd with its own settings is started as root"),
]

SETTINGS = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv HOME={folder} PYTHONPATH={repository} PIP_NO_INDEX=1 OMP_NUM_THREADS=1
"""


class Worker:
    """One SSH server with a home of its own."""

    def __init__(self, folder: Path, repository: Path) -> None:
        folder.mkdir()
        self.folder = folder
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's separation of privileges wants it
        for name in ("host_key", "key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])
        settings = SETTINGS.format(port=self.port, folder=folder, repository=repository)
        (folder / "sshd_config").write_text(settings)
        self.machine = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "sshKeyFile": str(folder / "key"),
            "pythonPath": str(Path(sys.executable).parent),
        }
        assert SSHD is not None
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE
        )

    def vanish(self) -> None:
        """As when its power fails: the server, its sessions, NNI's keeper and trials, at once."""
        mine = f"HOME={self.folder}".encode()
        pids = [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (process / "environ").read_bytes().split(b"\0"):
                    pids.append(int(process.name))
        for pid in [self.process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def trials(self) -> set[str]:
        """Ids of the trials that ran here."""
        return {p.name for p in self.folder.glob("nni-experiments/*/environments/*/trials/*")}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def workers(nni: Any) -> Iterator[list[Worker]]:
    started = [Worker(nni.folder / f"worker{i}", nni.repository) for i in range(2)]
    yield started
    for worker in started:
        worker.close()


def create(
    nni: Any, workers: list[Worker], body: str, address: str = "127.0.0.1", **settings: Any
) -> None:
    settings = nni.config(body, trialConcurrency=2, **settings)
    # Only the trial's own folder is sent to the workers.
    code = nni.folder / "code"
    code.mkdir()
    (nni.folder / "trial.py").rename(code / "trial.py")
    settings |= {
        "trialCommand": "python3 trial.py",
        "trialCodeDirectory": str(code),
        "nniManagerIp": address,
        "trainingService": {
            "platform": "remote",
            "machineList": [worker.machine for worker in workers],
        },
    }
    nni.create(settings)


def test_two_machines_call_back_with_the_token(nni: Any, workers: list[Worker]) -> None:
    """A manager that listens beyond this machine, reached from there by keepers and trials."""
    address, token = own_address(), "t0ken-of_the.workers"
    nni.guard(launcher.environment(address, token=token))
    # One trial dies: the parameters it left in NNI's queue must not reach another trial.
    # Another hangs: the machine that it runs on has no file of the tuner's with the limits.
    body = (
        "if params['uid'] == 2: sys.exit('no images here')\n"
        "time.sleep(600 if params['uid'] == 3 else 0.3 * (params['uid'] % 3))"
    )
    tuner = {
        "className": "nni_plugin.JointGATuner",
        "codeDirectory": str(nni.repository),
        "classArgs": {
            "objectives": {"default": "maximize", "size": "minimize"},
            "trial_limits": {"seconds": 15},
        },
    }
    create(nni, workers, body, address, tuner=tuner, maxTrialNumber=6)
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    nni.wait_for(lambda: len([e for e in nni.journal() if e["event"] == "fail"]) == 2)
    assert nni.wrong_pairs() == []
    assert len(nni.succeeded()) == 4
    told = {e["uid"] for e in nni.journal() if e["event"] == "tell"}
    failed = {e["uid"]: e["reason"] for e in nni.journal() if e["event"] == "fail"}
    assert len(told) == 4
    assert failed == {
        2: "the trial failed: no images here",
        3: "over its limit of 15 s (trial_limits.seconds)",
    }
    assert all(worker.trials() for worker in workers)
    assert Requests(address, nni.port)("GET", "/api/v1/nni/check-status").status == 401
    for worker in workers:
        (launched,) = worker.folder.rglob("launcher_config.json")
        channel = json.loads(launched.read_text())["managerCommandChannel"]
        assert channel.endswith(f"?token={token}")
        assert stat.S_IMODE(launched.parent.stat().st_mode) == 0o700


@pytest.mark.nightly
def test_a_machine_that_goes_away(nni: Any, workers: list[Worker]) -> None:
    create(nni, workers, "time.sleep(4)", maxTrialNumber=6)

    def one_runs_on_each() -> bool:
        running = {job["trialJobId"] for job in nni.trials() if job["status"] == "RUNNING"}
        return all(worker.trials() & running for worker in workers)

    nni.wait_for(one_runs_on_each, 120)
    lost, stays = workers
    (cut_off,) = lost.trials() & {j["trialJobId"] for j in nni.trials() if j["status"] == "RUNNING"}
    before = lost.trials()
    lost.vanish()
    # The other machine does the rest.
    assert nni.wait("DONE", "ERROR", seconds=180) == "DONE"
    status = {job["trialJobId"]: job["status"] for job in nni.trials()}
    assert status.pop(cut_off) == "USER_CANCELED"
    assert list(status.values()) == ["SUCCEEDED"] * 5
    assert lost.trials() == before
    assert stays.trials() >= set(status) - before
    (failed,) = [e["uid"] for e in nni.journal() if e["event"] == "fail"]
    assert {e["uid"] for e in nni.journal() if e["event"] == "tell"} == {*range(1, 7)} - {failed}
    assert nni.wrong_pairs() == []
