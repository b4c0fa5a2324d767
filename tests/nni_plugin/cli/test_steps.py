"""Long work shows that it goes on, in a log as well, and a Ctrl-C says what is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from nni_plugin.cli.steps import counted


def test_a_log_gets_lines_now_and_then() -> None:
    log = io.StringIO()
    with counted(Console(file=log), "measuring", "nothing is written", every_s=0.0) as step:
        step()
        step()
    lines = log.getvalue().splitlines()
    assert [line.split(" after")[0] for line in lines] == ["measuring: 1 done", "measuring: 2 done"]
    quiet = io.StringIO()
    with counted(Console(file=quiet), "measuring", "nothing is written") as step:
        step()
    assert quiet.getvalue() == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupt_says_what_is_left(terminal: bool) -> None:
    log = io.StringIO()
    console = Console(file=log, force_terminal=terminal)
    with pytest.raises(KeyboardInterrupt), counted(console, "measuring", "nothing is written"):
        raise KeyboardInterrupt
    assert "measuring was stopped: nothing is written" in log.getvalue()
