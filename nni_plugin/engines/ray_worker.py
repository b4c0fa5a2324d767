"""One place for a trial on a machine of a Ray cluster: an actor around this machine's engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nni_plugin.engines.engine import Ended
from nni_plugin.engines.messages import dump_event, load_job
from nni_plugin.engines.ray_engine import unpack
from nni_plugin.engines.server_engine import ServerEngine
from nni_plugin.engines.trial_files import stderr_of, stdout_of
from nni_plugin.engines.trial_server import ServerSettings
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.limits import Limits

__all__ = ["RayWorker", "Said"]

_TAIL_BYTES = 64 << 10


@dataclass(frozen=True)
class Said:
    """What a trial that has ended wrote, the end of it.

    Attributes:
        job: the trial's.
        stdout: bytes.
        stderr: bytes.
    """

    job: str
    stdout: bytes
    stderr: bytes


class RayWorker:
    """Runs one trial at a time; dies with its search, and its trial with it.

    Args:
        settings: of the trials, see ``ServerSettings``.
        archive: the code folder, for a machine that has no folder of that path.
        threads: ``OMP_NUM_THREADS`` of the search's machine; None if it has none.
    """

    def __init__(self, settings: Settings, archive: bytes | None, threads: str | None) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="joint-ga-ray-"))
        os.environ.pop("OMP_NUM_THREADS", None)
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
        code = Path(settings["code"])
        if not code.is_dir() and archive is not None:
            code = self._home / "code"
            unpack(archive, code)
        trials = self._home / "trials"
        own = replace(ServerSettings(**settings), trials=str(trials), code=str(code))
        module = "nni_plugin.engines.trial_server"
        log = self._home / "engine.log"
        self._engine = ServerEngine("ray", module, asdict(own), trials, log)
        self._trials = trials

    def node(self) -> str:
        """The address of this machine in the cluster."""
        import ray

        return str(ray.util.get_node_ip_address())

    def start(self, job: Settings, limits: dict[str, object]) -> None:
        """Starts a trial."""
        self._engine.limit(Limits.of(limits))
        self._engine.start(load_job(job))

    def stop(self, job: str) -> None:
        """Has a trial end before its time."""
        self._engine.stop(job)

    def events(self, seconds: float) -> tuple[list[dict[str, object]], list[Said]]:
        """What has happened, and the output of trials that have ended."""
        events = self._engine.events(seconds)
        ended = [event.job for event in events if isinstance(event, Ended)]
        said = [self._said(job) for job in ended]
        return [dump_event(event) for event in events], said

    def _said(self, job: str) -> Said:
        folder = self._trials / job
        said = Said(job, _tail(stdout_of(folder)), _tail(stderr_of(folder)))
        shutil.rmtree(folder, ignore_errors=True)
        return said

    def close(self) -> None:
        """Ends the trial, and takes the files away."""
        self._engine.close()
        shutil.rmtree(self._home, ignore_errors=True)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return stream.read()
    except OSError:
        return b""
