"""Backend: latency on a board reached by SSH (Raspberry Pi class): copy, run, read back.

The board needs Python with `onnxruntime` and `numpy`; nothing is installed or left there.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hardware.ir.layer import Layer
from hardware.measure.backend import BackendUnavailableError
from hardware.measure.onnx_model import build

_RUNNER = Path(__file__).with_name("timing.py")


class SshBoard:
    """Times a model on another machine, one thread, minimum of many runs.

    Attributes:
        host: name or address, with `user@` if needed; options of `~/.ssh/config` apply.
        port: port of its SSH server.
        identity: private key file; the agent's or the default ones if empty.
        python: Python on the board.
        int8: whether to time the int8 model or the 32-bit one.
        seconds: time spent per network.
        timeout_s: longest time for one step before the board counts as gone.
        options: further `-o` options for `ssh` and `scp`.
    """

    extra = ""

    def __init__(
        self,
        host: str,
        port: int = 22,
        identity: str = "",
        python: str = "python3",
        int8: bool = True,
        seconds: float = 2.0,
        timeout_s: float = 120,
        options: Sequence[str] = (),
    ) -> None:
        if not host or host.startswith("-"):
            raise ValueError(f"host={host!r} must be a host name or address")
        self.host, self.port, self.identity, self.python = host, port, identity, python
        self.int8, self.seconds, self.timeout_s = int8, seconds, timeout_s
        self.options = tuple(options)
        self.name = f"ssh-{host}"

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return `board_latency_ms`.

        Raises:
            BackendUnavailableError: the board cannot be reached, or its Python lacks onnxruntime.
            ValueError: an operator that cannot be written to ONNX.
        """
        model = build(layers, self.int8)
        remote = self._ssh("mktemp -d").strip()
        try:
            with tempfile.TemporaryDirectory(prefix="joint-ga-ssh-") as folder:
                path = Path(folder) / "model.onnx"
                path.write_bytes(model)
                self._run(
                    ["scp", "-q", "-P", str(self.port), *self._common(), str(path), str(_RUNNER),
                     f"{self.host}:{remote}/"],
                )  # fmt: skip
            where = shlex.quote(remote)
            out = self._ssh(
                f"cd {where} && {shlex.quote(self.python)} timing.py model.onnx "
                f"--seconds {self.seconds:g}"
            )
        finally:
            self._ssh(f"rm -rf {shlex.quote(remote)}")
        try:
            found = json.loads(out.splitlines()[-1])
            return {"board_latency_ms": round(float(found[0]["min_ms"]), 6)}
        except (IndexError, KeyError, ValueError):
            raise BackendUnavailableError(
                f"board {self.host}: unexpected answer {out[-200:]!r}"
            ) from None

    def _common(self) -> list[str]:
        made = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        for option in self.options:
            made += ["-o", option]
        return made + (["-i", self.identity] if self.identity else [])

    def _ssh(self, command: str) -> str:
        return self._run(["ssh", "-p", str(self.port), *self._common(), self.host, command])

    def _run(self, command: list[str]) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout_s)
        except FileNotFoundError:
            raise BackendUnavailableError(
                f"{command[0]} is not installed (apt-get install openssh-client)"
            ) from None
        except subprocess.TimeoutExpired:
            raise BackendUnavailableError(
                f"board {self.host}: no answer within {self.timeout_s:g} s"
            ) from None
        if done.returncode != 0:
            raise BackendUnavailableError(
                f"board {self.host}: {command[0]} failed: {done.stderr.strip()[-400:]}"
            )
        return done.stdout
