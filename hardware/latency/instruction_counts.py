"""Instructions of a kernel call in closed form: linear in loop counts, fitted to the emulator.

A kernel's count is a sum of loop trips times the instructions of each body. The trips follow
from the shape; the instructions were fitted to counts of `measure.qemu` on random shapes
(`python -m hardware.measure.fit`), and lie with their error in `data/instructions-N.json`, N being
the version of the costs (`hardware.versions`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware.cores import COUNTED_AS, KERNEL_SET
from hardware.latency import kernel_loops_v1, kernel_loops_v2
from hardware.latency.kernel_calls import Job
from hardware.versions import FIRST, LATEST

Describe = Callable[[Job, str], tuple[str, tuple[float, ...]]]
"""Which variant of a kernel of a set runs a job, and its loop counts."""

_FOLDER = Path(__file__).parents[1] / "data"

DESCRIBE: Mapping[int, Describe] = {
    FIRST: kernel_loops_v1.describe,
    LATEST: kernel_loops_v2.describe,
}
"""By version of the costs."""


def table_file(version: int) -> Path:
    """Where the instructions of the kernels' loops lie."""
    return _FOLDER / f"instructions-{version}.json"


def instructions(job: Job, core: str, version: int = LATEST) -> float:
    """Return the instructions of one job on a core.

    Raises:
        ValueError: no kernel for these bits on this core.
    """
    emulated = COUNTED_AS[core]
    variant, features = DESCRIBE[version](job, KERNEL_SET[emulated])
    coefficients = _tables(version)[emulated].get(variant)
    if coefficients is None:
        raise ValueError(
            f"no {job.kind} kernel for {job.w_bits}-bit weights and {job.a_bits}-bit activations "
            f"on {core}"
        )
    return sum(c * f for c, f in zip(coefficients, features, strict=True))


@lru_cache(maxsize=4)
def _tables(version: int) -> dict[str, dict[str, tuple[float, ...]]]:
    data: dict[str, Any] = json.loads(table_file(version).read_text(encoding="utf-8"))
    return {
        core: {name: tuple(fit["coefficients"]) for name, fit in fits.items()}
        for core, fits in data["cores"].items()
    }
