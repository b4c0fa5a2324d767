"""The ``joint-ga`` command in the test's own process: one each would take minutes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from nni_plugin.cli.app import main


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def calls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Done]]:
    """Yields what calls the command; its signal handlers are taken back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["joint-ga", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
