"""Which costs an experiment began with.

A cost model changes when kernels, factors or defaults do. A search that is under way must not
notice: its earlier trials were told the costs of then. So a network file carries the version of
the costs that it was made for, and every version stays computable.

Version 1 stands for files without a version: a profile's own default stack (a vendor's), the
instruction counts of `data/instructions-1.json`, the profiles of `data/profiles-1.json` and the
factors of `data/stacks-1.json`, no `flash_kb`. Version 2: `joint-ga-c` is the default stack.
"""

from __future__ import annotations

FIRST, LATEST = 1, 2

VERSIONS = tuple(range(FIRST, LATEST + 1))


def check_version(value: object) -> int:
    """Return a version of the costs.

    Raises:
        ValueError: this package does not know it.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value not in VERSIONS:
        raise ValueError(
            f"costs_version={value!r} is unknown (known: {', '.join(map(str, VERSIONS))}); it was "
            "written by a newer version of nni-joint-ga: use that one"
        )
    return value
