"""The engine ``ray``: trials on the machines of a Ray cluster.

A Ray driver ends with its cluster, and not by an exception. So Ray is used by a process beside the
search, which starts that process anew when it dies and then hears what is wrong.
"""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

from nni_plugin.engines.server_engine import ServerEngine
from nni_plugin.engines.trial_server import ServerSettings

__all__ = ["packed", "ray_engine", "unpack"]

_MOST_BYTES = 64 << 20
_LEFT_OUT = {".git", "__pycache__", ".venv", "runs", "node_modules"}


def ray_engine(
    settings: ServerSettings, address: str | None, concurrency: int, gpus: float, folder: Path
) -> ServerEngine:
    """The engine, told where its cluster is.

    Args:
        settings: of the trials.
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None for ``RAY_ADDRESS``, a
            cluster that runs here, or a new one of this machine.
        concurrency: how many trials run at once.
        gpus: of each trial; half a one is shared by two.
        folder: the experiment's.
    """
    told = {
        "trial": asdict(settings),
        "address": address,
        "workers": concurrency,
        "gpus": gpus,
        # Ray sets it in its workers; a trial shall have what it has on this machine.
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    log = folder / "log" / "engine.log"
    # Ray ends a process that finds no cluster at its address, without an exception.
    gone = (
        f"the Ray cluster at {address or 'its address'} can't be reached: start it (`ray start "
        "--head`), or give its --address"
    )
    trials = Path(settings.trials)
    return ServerEngine("ray", "nni_plugin.engines.ray_server", told, trials, log, gone)


def packed(folder: Path) -> bytes:
    """The files of a folder as a zip archive, for machines that have no such folder.

    Raises:
        ValueError: they are too large to be sent to each machine.
    """
    archive = io.BytesIO()
    size = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if _LEFT_OUT & set(parts) or not path.is_file():
                continue
            size += path.stat().st_size
            if size > _MOST_BYTES:
                raise ValueError(
                    f"trialCodeDirectory {folder} holds more than {_MOST_BYTES >> 20} MB, too much "
                    "to be sent to each machine: point it at the code alone, or have the folder on "
                    "every machine under the same path"
                )
            files.write(path, Path(*parts))
    return archive.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Writes the files of :func:`packed` into a folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
