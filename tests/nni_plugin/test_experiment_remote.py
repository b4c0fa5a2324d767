"""NNI's remote training service, with two SSH servers of this machine as the workers."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def machines(nni: Any) -> Iterator[list[dict[str, Any]]]:
    workers = [Worker(nni.folder / f"worker{i}", nni.repository) for i in range(2)]
    yield [worker.machine for worker in workers]
    for worker in workers:
        worker.close()


def test_two_machines(nni: Any, machines: list[dict[str, Any]]) -> None:
    # One trial dies: the parameters it left in NNI's queue must not reach another trial.
    body = "if params['uid'] == 2: sys.exit(1)\ntime.sleep(0.3 * (params['uid'] % 3))"
    settings = nni.config(body, trialConcurrency=2, maxTrialNumber=6)
    # Only the trial's own folder is sent to the workers.
    code = nni.folder / "code"
    code.mkdir()
    (nni.folder / "trial.py").rename(code / "trial.py")
    settings |= {
        "trialCommand": "python3 trial.py",
        "trialCodeDirectory": str(code),
        "nniManagerIp": "127.0.0.1",
        "trainingService": {"platform": "remote", "machineList": machines},
    }
    nni.create(settings)
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    assert nni.wrong_pairs() == []
    assert len(nni.succeeded()) == 5
    told = {e["uid"] for e in nni.journal() if e["event"] == "tell"}
    failed = {e["uid"] for e in nni.journal() if e["event"] == "fail"}
    assert len(told) == 5
    assert failed == {2}
    used = [nni.folder / f"worker{i}" for i in range(2)]
    assert all(list(home.glob("nni-experiments/*/environments/*/trials/*")) for home in used)
