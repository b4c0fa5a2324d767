"""Long work that counts its steps: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from evaluators.progress import LINE_S

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Step", "counted", "said_at_interrupt"]


class Step(Protocol):
    """What is called after each step, with a word on how it went."""

    def __call__(self, note: str = "") -> None:
        """Counts a step."""


@contextlib.contextmanager
def counted(
    console: Console,
    what: str,
    left: str | None,
    every_s: float = LINE_S,
    total: int | None = None,
) -> Iterator[Step]:
    """Shows how many steps are done; yields what is called after each.

    Args:
        console: where to.
        what: is done, such as ``measuring``.
        left: what a Ctrl-C leaves behind, in words; said before it is raised on. None if the
            caller says it.
        every_s: seconds between lines where the console is no terminal.
        total: number of steps, if it is known.
    """
    from rich.progress import Progress

    with contextlib.nullcontext() if left is None else said_at_interrupt(what, left):
        if not console.is_terminal:
            yield _Lines(console, what, every_s, total).step
            return
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(what, total=total)

            def step(note: str = "") -> None:
                said = f"{what}, {note}" if note else what
                progress.update(bar, advance=1, description=said)

            yield step


@contextlib.contextmanager
def said_at_interrupt(what: str, left: str) -> Iterator[None]:
    """Says after a Ctrl-C what it leaves behind, and raises it on.

    Args:
        what: was done, such as ``init``.
        left: what is left, in words.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"{what} was stopped: {left}", flush=True)
        raise


class _Lines:
    def __init__(self, console: Console, what: str, every_s: float, total: int | None) -> None:
        self._console = console
        self._what = what
        self._every_s = every_s
        self._of = f" of {total}" if total is not None else ""
        self._steps = 0
        self._began = self._told = time.monotonic()

    def step(self, note: str = "") -> None:
        self._steps += 1
        now = time.monotonic()
        if now - self._told >= self._every_s:
            self._told = now
            said = f"{self._what}: {self._steps}{self._of} done after {now - self._began:.0f} s"
            self._console.print(f"{said}, {note}" if note else said, highlight=False)
