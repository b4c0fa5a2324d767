"""What the trials of an experiment wrote to stderr, as NNI keeps it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nni_plugin.protocol.trial_stderr import last_line

__all__ = ["last_words"]


def last_words(folder: Path) -> list[tuple[str, int, Path]]:
    """The last line that each trial wrote to stderr: what a Python program died of.

    Args:
        folder: the experiment's own folder.

    Returns:
        Distinct lines with the number of trials that ended with them and one of the files, the
        most frequent first. Trials on other machines keep their output there and are left out.
    """
    counts: Counter[str] = Counter()
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("environments/*/trials/*/trial.stderr")):
        line = last_line(path)
        if line:
            counts[line] += 1
            files.setdefault(line, path)
    return [(line, number, files[line]) for line, number in counts.most_common()]
