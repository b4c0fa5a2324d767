"""Where NNI keeps what a trial on this machine wrote to stderr, and what it ended with."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 4096
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")


def stderr_file(experiment: Path, trial: str) -> Path | None:
    """A trial's file; None if it ran on another machine.

    Args:
        experiment: the experiment's own folder.
        trial: NNI's id.
    """
    return next(experiment.glob(f"environments/*/trials/{trial}/trial.stderr"), None)


def last_line(path: Path) -> str:
    """The last line of a file that says something, as :func:`last_of` gives it."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL_BYTES))
            return last_of(stream.read().decode(errors="replace"))
    except OSError:
        return ""


def last_of(text: str) -> str:
    """The last line that isn't empty, which is what a Python program died of; "" without one.

    Colours and other commands to a terminal are left out.
    """
    plain = _ESCAPES.sub("", text)
    lines = ("".join(filter(str.isprintable, line)).strip() for line in plain.splitlines())
    return next((line for line in reversed(list(lines)) if line), "")
