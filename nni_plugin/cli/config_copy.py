"""A config with other numbers in it, for NNI, which reads them from the file alone."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

__all__ = ["config_with"]


@contextlib.contextmanager
def config_with(config: Path, trials: int | None, concurrency: int | None) -> Iterator[Path]:
    """The config's path, or that of a copy beside it that is there for as long as the block runs.

    Beside it, because NNI takes the paths in it from its folder.

    Args:
        config: as given.
        trials: in place of ``maxTrialNumber``.
        concurrency: in place of ``trialConcurrency``.

    Raises:
        OSError: the copy can't be written.
    """
    numbers = {"maxTrialNumber": trials, "trialConcurrency": concurrency}
    numbers = {name: number for name, number in numbers.items() if number is not None}
    if not numbers:
        yield config
        return
    settings = {**yaml.safe_load(config.read_text(encoding="utf-8")), **numbers}
    with tempfile.NamedTemporaryFile(
        "w", dir=config.parent, prefix=f".{config.stem}-", suffix=".yml", encoding="utf-8"
    ) as copy:
        yaml.safe_dump(settings, copy)
        copy.flush()
        yield Path(copy.name)
