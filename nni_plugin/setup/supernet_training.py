"""The supernet of an experiment's trials, trained before the experiment starts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ONLY_SUPERNET = "--only-supernet"
"""The option of ``nni_plugin.trial`` that ends it once the supernet is there."""
_END_S = 10.0
"""What Ctrl-C, which a terminal sends to the training too, may take to end it."""


@dataclass(frozen=True)
class SupernetTraining:
    """What trains the supernet: the trials' own command, which ends when it is there.

    Attributes:
        arguments: of ``nni_plugin.trial``.
        folder: where the trials start.
        environment: variables that the trial command sets.
    """

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def of(
        cls, words: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> SupernetTraining:
        """From the words of a trial command that starts ``nni_plugin.trial``."""
        return cls(tuple(words[words.index("nni_plugin.trial") + 1 :]), folder, environment)

    def run(self) -> None:
        """Trains it in a process of its own, which says how far it is on this one's output.

        Raises:
            RuntimeError: it failed, and has said why.
        """
        command = [sys.executable, "-m", "nni_plugin.trial", *self.arguments, ONLY_SUPERNET]
        process = subprocess.Popen(command, cwd=self.folder, env={**os.environ, **self.environment})
        try:
            code = process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            raise
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if code != 0:
            raise RuntimeError(
                f"the supernet was not trained (exit status {code}, see above): so would the "
                "trials end"
            )
