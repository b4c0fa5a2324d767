"""Long work shows that it goes on, in a log as well, and a Ctrl-C says what is left."""

from __future__ import annotations

import io
import re

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
    long = io.StringIO()
    with counted(Console(file=long, width=99), "tuning", None, every_s=0.0, total=4) as step:
        step("accuracy 0.9")
    assert re.fullmatch(r"tuning: 1 of 4 done after \d+ s, accuracy 0.9\n", long.getvalue())
    quiet = io.StringIO()
    with counted(Console(file=quiet), "measuring", "nothing is written") as step:
        step()
    assert quiet.getvalue() == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupt_says_what_is_left(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    with pytest.raises(KeyboardInterrupt), counted(console, "measuring", "nothing is written"):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == "measuring was stopped: nothing is written\n"
