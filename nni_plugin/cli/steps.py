"""Long work that counts its steps: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["counted"]

EVERY_S = 10.0
"""Seconds between lines: few in a log of an hour, and soon enough to see that it goes on."""


@contextlib.contextmanager
def counted(
    console: Console, what: str, left: str, every_s: float = EVERY_S
) -> Iterator[Callable[[], None]]:
    """Shows how many steps are done; yields what is called after each.

    Args:
        console: where to.
        what: is done, such as ``measuring``.
        left: what a Ctrl-C leaves behind, in words; said before it is raised on.
        every_s: seconds between lines where the console is no terminal.
    """
    from rich.progress import Progress

    try:
        if console.is_terminal:
            with Progress(console=console, transient=True) as progress:
                bar = progress.add_task(what, total=None)
                yield lambda: progress.advance(bar)
            return
        yield _Lines(console, what, every_s).step
    except KeyboardInterrupt:
        console.print(f"{what} was stopped: {left}", highlight=False, soft_wrap=True)
        raise


class _Lines:
    def __init__(self, console: Console, what: str, every_s: float) -> None:
        self._console = console
        self._what = what
        self._every_s = every_s
        self._steps = 0
        self._began = self._told = time.monotonic()

    def step(self) -> None:
        self._steps += 1
        now = time.monotonic()
        if now - self._told >= self._every_s:
            self._told = now
            line = f"{self._what}: {self._steps} done after {now - self._began:.0f} s"
            self._console.print(line, highlight=False)
