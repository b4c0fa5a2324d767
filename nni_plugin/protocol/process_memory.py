"""What a trial's processes take of a machine's memory.

Counted is what nobody else can have: not the files that are mapped (a data set, CUDA's libraries),
which the kernel gives back when it needs room, and a page that several processes share only once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_MB = 1024 * 1024
_COUNTED = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss): +(\d+) kB$", re.M)
_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")


def upper_bound_mb(processes: Iterable[psutil.Process]) -> float:
    """At most so much they take: cheap to find, with mapped files, shared pages several times."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total / _MB


def used_mb(processes: Iterable[psutil.Process]) -> float:
    """The memory that they take together, in MB of 1024 * 1024 bytes."""
    return sum(_own_bytes(process) for process in processes) / _MB


def _own_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(OSError):
        found = _COUNTED.findall(Path(f"/proc/{process.pid}/smaps_rollup").read_bytes())
        if found:
            return 1024 * sum(map(int, found))
    with contextlib.suppress(psutil.Error):
        told = process.memory_info()
        return int(told.rss) - int(getattr(told, "shared", 0))
    return 0


def machine_mb() -> float:
    """The memory that this process's machine has, or its container if that may have less."""
    limits = [psutil.virtual_memory().total]
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            root, name = (_V2, "memory.max") if not controllers else (_V1, "memory.limit_in_bytes")
            if controllers and "memory" not in controllers.split(","):
                continue
            own = root / path.lstrip("/")
            # A group's parents limit it as well; in a container its path may be the host's.
            folders = [own, *own.parents]
            limits += [n for f in folders if f.is_relative_to(root) and (n := _number(f / name))]
    return min(limits) / _MB


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no file, or ``max`` in it."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None
